package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	afVsock       = 40
	defaultCID    = 3
	heartbeatPort = 9000
	heartbeatByte = 0xB7
)

// parentCID is the vsock address of the parent instance. The kernel puts NAME=VALUE parameters of its command line into
// init's environment, so that an emulator's address differs in the measured command line, not in the image.
func parentCID(value string) uint32 {
	cid, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return defaultCID
	}
	return uint32(cid)
}

// vsockAddress is struct sockaddr_vm: family, reserved, port, CID, zeros.
func vsockAddress(cid, port uint32) [16]byte {
	var address [16]byte
	binary.NativeEndian.PutUint16(address[0:], afVsock)
	binary.NativeEndian.PutUint32(address[4:], port)
	binary.NativeEndian.PutUint32(address[8:], cid)
	return address
}

// heartbeat sends one byte to the parent and expects it back; without it, nitro-cli reports a failed launch.
func heartbeat(cid uint32) error {
	socket, err := syscall.Socket(afVsock, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	connection := os.NewFile(uintptr(socket), "heartbeat")
	defer connection.Close()
	address := vsockAddress(cid, heartbeatPort)
	_, _, errno := syscall.Syscall(
		syscall.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address))
	if errno != 0 {
		return fmt.Errorf("connect to CID %d port %d: %w", cid, heartbeatPort, errno)
	}
	return exchange(connection)
}

func exchange(connection io.ReadWriter) error {
	beat := []byte{heartbeatByte}
	if _, err := connection.Write(beat); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if _, err := connection.Read(beat); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if beat[0] != heartbeatByte {
		return fmt.Errorf("the parent answered 0x%02X instead of 0x%02X", beat[0], heartbeatByte)
	}
	return nil
}
