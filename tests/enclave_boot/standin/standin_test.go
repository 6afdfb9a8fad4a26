package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestFramesHaveTheirLengthBefore(t *testing.T) {
	var proxy, device bytes.Buffer
	if err := sendFrames(&proxy, strings.NewReader("frame")); err == nil {
		t.Error("the end of the device gave no error")
	}
	if want := "\x05\x00frame"; proxy.String() != want {
		t.Errorf("got %q, want %q", proxy.String(), want)
	}
	proxy.WriteString("\x02\x00ab\x01")
	if err := receiveFrames(&device, &proxy); err == nil {
		t.Error("half a length gave no error")
	}
	if device.String() != "frameab" {
		t.Errorf("got %q", device.String())
	}
}

func TestAttestationRequest(t *testing.T) {
	got := hex.EncodeToString(attestationRequest([]byte{1}, []byte{2, 3}, nil))
	want := "a16b4174746573746174696f6ea369757365725f64617461420203656e6f6e636541016a7075626c69635f6b657940"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDocumentOf(t *testing.T) {
	document := bytes.Repeat([]byte{7}, 300)
	answer := text(item(text(item(nil, cborMap, 1), "Attestation"), cborMap, 1), "document")
	answer = octets(answer, document)
	if got, err := documentOf(answer); err != nil || !bytes.Equal(got, document) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, wrong := range [][]byte{nil, answer[:len(answer)-1], slices.Concat(answer, []byte{0}), []byte("\xa1eError")} {
		if _, err := documentOf(wrong); err == nil {
			t.Errorf("% x gave no error", wrong)
		}
	}
}

func TestInternalAPI(t *testing.T) {
	e := newEnclave([]byte("certificate"), attestNothing)
	hash := sha256.Sum256([]byte("key"))
	encoded := base64.StdEncoding.EncodeToString(hash[:])
	for _, each := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/enclave/hash", "", 405},
		{"POST", "/enclave/hash", "AAAA", 400},
		{"POST", "/enclave/hash", "no base64", 400},
		{"POST", "/enclave/hash", strings.Repeat("A", 46), 400},
		{"POST", "/enclave/hash", encoded, 200},
		{"POST", "/enclave/ready", "", 405},
		{"GET", "/enclave/ready", "", 200},
		{"GET", "/enclave/ready", "", 410},
	} {
		answer := httptest.NewRecorder()
		e.internal().ServeHTTP(answer, httptest.NewRequest(each.method, each.path, strings.NewReader(each.body)))
		if answer.Code != each.status {
			t.Errorf("%s %s: %d, want %d", each.method, each.path, answer.Code, each.status)
		}
	}
	<-e.opened
	certificate := sha256.Sum256([]byte("certificate"))
	want := slices.Concat([]byte{0x12, 0x20}, certificate[:], []byte{0x12, 0x20}, hash[:])
	if got := e.userData(); !bytes.Equal(got, want) {
		t.Errorf("user_data % x, want % x", got, want)
	}
}

func TestPublicSideAttestsOnlyWellFormedNonces(t *testing.T) {
	e := newEnclave(nil, attestNothing)
	for _, nonce := range []string{"", "zz", strings.Repeat("a", 38), strings.Repeat("a", 42)} {
		answer := httptest.NewRecorder()
		e.attest(answer, httptest.NewRequest(http.MethodGet, "/enclave/attestation?nonce="+nonce, nil))
		if answer.Code != http.StatusBadRequest {
			t.Errorf("nonce %q: %d", nonce, answer.Code)
		}
	}
	answer := httptest.NewRecorder()
	e.attest(answer, httptest.NewRequest(http.MethodGet, "/enclave/attestation?nonce="+strings.Repeat("a", 40), nil))
	if answer.Code != http.StatusOK || answer.Body.String() != "e30=\n" {
		t.Errorf("%d %q", answer.Code, answer.Body)
	}
}
