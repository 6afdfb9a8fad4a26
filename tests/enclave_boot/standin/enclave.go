package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

const (
	hashBytes = 32
	// A hash in base64, and a line end.
	maxHashText = 45
	nonceBytes  = 20
)

// publicKey fills a field that verifiers want filled (facts/enclave.md 1.3).
var publicKey = []byte("dummy")

// enclave is what the two servers share; opened is closed by the first /enclave/ready.
type enclave struct {
	certificateHash [hashBytes]byte
	attestation     func(nonce, userData, publicKey []byte) ([]byte, error)
	opened          chan struct{}

	mutex           sync.Mutex
	applicationHash [hashBytes]byte
	ready           bool
}

func newEnclave(certificateDER []byte, attestation func(nonce, userData, publicKey []byte) ([]byte, error)) *enclave {
	return &enclave{
		certificateHash: sha256.Sum256(certificateDER),
		attestation:     attestation,
		opened:          make(chan struct{}),
	}
}

// attestNothing is what nitriding's attester for debugging does.
func attestNothing(_, _, _ []byte) ([]byte, error) {
	return []byte("{}"), nil
}

func (e *enclave) internal() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /enclave/hash", e.takeHash)
	mux.HandleFunc("GET /enclave/ready", e.open)
	mux.HandleFunc("GET /enclave/state", notSynchronised)
	mux.HandleFunc("PUT /enclave/state", notSynchronised)
	return mux
}

func (e *enclave) public(application *url.URL) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /enclave", index)
	mux.HandleFunc("GET /enclave/config", configuration)
	mux.HandleFunc("GET /enclave/attestation", e.attest)
	proxy := httputil.NewSingleHostReverseProxy(application)
	mux.Handle("/", proxy)
	return mux
}

func index(answer http.ResponseWriter, _ *http.Request) {
	io.WriteString(answer, "An enclave.\n")
}

func configuration(answer http.ResponseWriter, _ *http.Request) {
	answer.Header().Set("Content-Type", "application/json")
	io.WriteString(answer, `{"FQDN": "tee-gateway.internal", "WaitForApp": true}`)
}

func notSynchronised(answer http.ResponseWriter, _ *http.Request) {
	answer.WriteHeader(http.StatusForbidden)
}

func (e *enclave) takeHash(answer http.ResponseWriter, request *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, maxHashText))
	if err != nil {
		http.Error(answer, "the hash is too long", http.StatusBadRequest)
		return
	}
	hash, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(hash) != hashBytes {
		http.Error(answer, "not 32 bytes in base64", http.StatusBadRequest)
		return
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	copy(e.applicationHash[:], hash)
}

func (e *enclave) open(answer http.ResponseWriter, _ *http.Request) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.ready {
		http.Error(answer, "ready already", http.StatusGone)
		return
	}
	e.ready = true
	close(e.opened)
}

func (e *enclave) attest(answer http.ResponseWriter, request *http.Request) {
	nonce, err := hex.DecodeString(request.URL.Query().Get("nonce"))
	if err != nil || len(nonce) != nonceBytes {
		http.Error(answer, "the nonce has to be 40 hex digits", http.StatusBadRequest)
		return
	}
	document, err := e.attestation(nonce, e.userData(), publicKey)
	if err != nil {
		log.Print(err)
		http.Error(answer, "the NSM gave no document", http.StatusInternalServerError)
		return
	}
	answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(answer, base64.StdEncoding.EncodeToString(document)+"\n")
}

// userData is two multihashes, SHA2-256 of 32 bytes each: of the certificate, and the application's.
func (e *enclave) userData() []byte {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	multihash := []byte{0x12, hashBytes}
	data := append([]byte{}, multihash...)
	data = append(data, e.certificateHash[:]...)
	data = append(data, multihash...)
	return append(data, e.applicationHash[:]...)
}
