package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

const (
	afVsock = 40
	// parentCID is the parent instance of every Nitro enclave.
	parentCID = 3
)

// dial connects to a vsock port of the parent.
func dial(port uint32) (*os.File, error) {
	socket, err := syscall.Socket(afVsock, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("vsock: %w", err)
	}
	address := vsockAddress(parentCID, port)
	_, _, failed := syscall.Syscall(
		syscall.SYS_CONNECT, uintptr(socket), uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address))
	if failed != 0 {
		syscall.Close(socket)
		return nil, fmt.Errorf("vsock %d:%d: %w", parentCID, port, failed)
	}
	if err := syscall.SetNonblock(socket, true); err != nil {
		syscall.Close(socket)
		return nil, fmt.Errorf("vsock: %w", err)
	}
	return os.NewFile(uintptr(socket), fmt.Sprintf("vsock %d:%d", parentCID, port)), nil
}

// vsockAddress is struct sockaddr_vm: family, reserved, port, CID, zeros.
func vsockAddress(cid, port uint32) [16]byte {
	var address [16]byte
	binary.NativeEndian.PutUint16(address[0:], afVsock)
	binary.NativeEndian.PutUint32(address[4:], port)
	binary.NativeEndian.PutUint32(address[8:], cid)
	return address
}

// forward carries connections to a loopback port of the enclave to the same vsock port of the parent.
func forward(port uint32) error {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go carry(near, port)
		}
	}()
	return nil
}

// carry ends when either side does: HTTP needs no half-open connections.
func carry(near net.Conn, port uint32) {
	defer near.Close()
	far, err := dial(port)
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	pour := func(target io.Writer, source io.Reader) {
		io.Copy(target, source)
		ended <- struct{}{}
	}
	go pour(far, near)
	go pour(near, far)
	<-ended
}
