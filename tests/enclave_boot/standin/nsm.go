package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	nsmDevice   = "/dev/nsm"
	nsmRaw      = 0xC0200A00 // _IOWR(0x0A, 0, struct nsm_raw)
	nsmResponse = 0x3000

	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborMap   = 5 << 5
)

// rawMessage is struct nsm_raw: two pairs of address and length.
type rawMessage struct {
	request, requestLength, response, responseLength uint64
}

// attestation asks the security module for a document over three fields.
func attestation(nonce, userData, publicKey []byte) ([]byte, error) {
	answer, err := askModule(attestationRequest(nonce, userData, publicKey))
	if err != nil {
		return nil, err
	}
	return documentOf(answer)
}

// attestationRequest is {"Attestation": {"user_data": ..., "nonce": ..., "public_key": ...}} in CBOR.
func attestationRequest(nonce, userData, publicKey []byte) []byte {
	request := item(nil, cborMap, 1)
	request = text(request, "Attestation")
	request = item(request, cborMap, 3)
	request = octets(text(request, "user_data"), userData)
	request = octets(text(request, "nonce"), nonce)
	return octets(text(request, "public_key"), publicKey)
}

// documentOf reads {"Attestation": {"document": ...}}, the only form that a document comes in.
func documentOf(answer []byte) ([]byte, error) {
	start := text(item(text(item(nil, cborMap, 1), "Attestation"), cborMap, 1), "document")
	rest, found := bytes.CutPrefix(answer, start)
	if !found || len(rest) < 3 || rest[0] != cborBytes|25 {
		return nil, fmt.Errorf("the NSM answered no document: %d bytes, % x", len(answer), answer[:min(len(answer), 40)])
	}
	document := rest[3:]
	if length := int(binary.BigEndian.Uint16(rest[1:])); length != len(document) {
		return nil, fmt.Errorf("a document of %d bytes in place of %d", len(document), length)
	}
	return document, nil
}

func text(to []byte, value string) []byte { return append(item(to, cborText, len(value)), value...) }

func octets(to, value []byte) []byte { return append(item(to, cborBytes, len(value)), value...) }

// item is the head of a CBOR item of major type kind; values up to 16 bits.
func item(to []byte, kind byte, value int) []byte {
	switch {
	case value < 24:
		return append(to, kind|byte(value))
	case value < 1<<8:
		return append(to, kind|24, byte(value))
	default:
		return append(to, kind|25, byte(value>>8), byte(value))
	}
}

func askModule(request []byte) ([]byte, error) {
	device, err := os.OpenFile(nsmDevice, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer device.Close()
	response := make([]byte, nsmResponse)
	message := &rawMessage{
		address(request), uint64(len(request)), address(response), uint64(len(response)),
	}
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), nsmRaw, uintptr(unsafe.Pointer(message)))
	runtime.KeepAlive(request)
	if failed != 0 {
		return nil, fmt.Errorf("%s: %w", nsmDevice, failed)
	}
	return response[:message.responseLength], nil
}

func address(buffer []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(buffer)))) }
