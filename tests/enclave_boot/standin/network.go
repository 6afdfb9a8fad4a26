package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	loopback   = "lo"
	tap        = "tap0"
	mtu        = 1500
	frameLimit = 1 << 16
	ethernet   = 1 // ARPHRD_ETHER
)

// What nitriding and gvproxy agree on (facts/enclave.md 1.4).
var (
	tapAddress  = net.IPv4(192, 168, 127, 2)
	tapMask     = net.IPv4(255, 255, 255, 0)
	tapHardware = net.HardwareAddr{0xba, 0xaa, 0xad, 0xc0, 0xff, 0xee}
)

// interfaceRequest is struct ifreq.
type interfaceRequest struct {
	name  [syscall.IFNAMSIZ]byte
	value [24]byte
}

// keepNetwork connects the TAP device to gvproxy, and again whenever that ends.
func keepNetwork(port uint32) {
	for {
		log.Print("network: ", connectNetwork(port))
		time.Sleep(time.Second)
	}
}

func connectNetwork(port uint32) error {
	proxy, err := dial(port)
	if err != nil {
		return err
	}
	defer proxy.Close()
	if _, err := io.WriteString(proxy, "POST /connect HTTP/1.1\r\nHost: gvproxy\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return err
	}
	device, err := openTap()
	if err != nil {
		return err
	}
	defer device.Close()
	ended := make(chan error, 2)
	go func() { ended <- sendFrames(proxy, device) }()
	go func() { ended <- receiveFrames(device, proxy) }()
	return <-ended
}

// sendFrames puts the length of each frame before it, two bytes, little-endian. A read from device is one frame.
func sendFrames(proxy io.Writer, device io.Reader) error {
	buffer := make([]byte, 2+frameLimit)
	for {
		size, err := device.Read(buffer[2:])
		if err != nil {
			return err
		}
		if size >= frameLimit {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		binary.LittleEndian.PutUint16(buffer, uint16(size))
		if _, err := proxy.Write(buffer[:2+size]); err != nil {
			return err
		}
	}
}

func receiveFrames(device io.Writer, proxy io.Reader) error {
	buffer := make([]byte, frameLimit)
	var length [2]byte
	for {
		if _, err := io.ReadFull(proxy, length[:]); err != nil {
			return err
		}
		frame := buffer[:binary.LittleEndian.Uint16(length[:])]
		if _, err := io.ReadFull(proxy, frame); err != nil {
			return err
		}
		if _, err := device.Write(frame); err != nil {
			return err
		}
	}
}

// openTap makes the device, with its addresses, up.
func openTap() (*os.File, error) {
	descriptor, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request := requestFor(tap)
	binary.NativeEndian.PutUint16(request.value[:], syscall.IFF_TAP|syscall.IFF_NO_PI)
	if err := ioctl(descriptor, syscall.TUNSETIFF, request); err != nil {
		syscall.Close(descriptor)
		return nil, fmt.Errorf("%s: %w", tap, err)
	}
	if err := errors.Join(
		set(tap, syscall.SIOCSIFHWADDR, hardwareAddress(tapHardware)),
		set(tap, syscall.SIOCSIFMTU, binary.NativeEndian.AppendUint32(nil, mtu)),
		set(tap, syscall.SIOCSIFADDR, socketAddress(tapAddress)),
		set(tap, syscall.SIOCSIFNETMASK, socketAddress(tapMask)),
		bringUp(tap),
	); err != nil {
		syscall.Close(descriptor)
		return nil, err
	}
	return os.NewFile(uintptr(descriptor), tap), nil
}

func bringUp(name string) error {
	return set(name, syscall.SIOCSIFFLAGS, binary.NativeEndian.AppendUint16(nil, syscall.IFF_UP|syscall.IFF_RUNNING))
}

func set(name string, operation uintptr, value []byte) error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	request := requestFor(name)
	copy(request.value[:], value)
	if err := ioctl(socket, operation, request); err != nil {
		return fmt.Errorf("%s, request 0x%x: %w", name, operation, err)
	}
	return nil
}

func requestFor(name string) *interfaceRequest {
	request := new(interfaceRequest)
	copy(request.name[:], name)
	return request
}

func hardwareAddress(address net.HardwareAddr) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, ethernet), address...)
}

// socketAddress is struct sockaddr_in with port 0.
func socketAddress(address net.IP) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, syscall.AF_INET), append([]byte{0, 0}, address.To4()...)...)
}

func ioctl(descriptor int, operation uintptr, request *interfaceRequest) error {
	_, _, failed := syscall.Syscall(
		syscall.SYS_IOCTL, uintptr(descriptor), operation, uintptr(unsafe.Pointer(request)))
	if failed != 0 {
		return failed
	}
	return nil
}
