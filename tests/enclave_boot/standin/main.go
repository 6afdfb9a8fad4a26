// Command standin is a test double of nitriding, for booting the enclave image where the real daemon cannot be built.
// It is no part of any image that is published.
//
// It speaks what the boot needs of facts/enclave.md 1.1-1.4: the internal API, the public side with a self-signed
// certificate, attestation through /dev/nsm, and the TAP device behind gvproxy on the parent. In addition it carries
// loopback ports of the enclave to the parent over vsock, which nitriding does not: upstreams are simulated there.
//
// With -debug it runs outside an enclave, as nitriding does: it touches no network and attests "{}".
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// forwardsVariable lists loopback ports, separated by commas, that lead to the same vsock ports of the parent.
const forwardsVariable = "STANDIN_FORWARDS"

func main() {
	log.SetFlags(0)
	log.SetPrefix("standin: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// run returns only with an error. The flags are those that start.sh gives to nitriding.
func run() error {
	name := flag.String("fqdn", "", "name in the certificate")
	application := flag.String("appwebsrv", "", "URL of the application")
	publicPort := flag.Int("ext-pub-port", 443, "public HTTPS port")
	internalPort := flag.Int("intport", 8080, "port of the internal API, on loopback")
	wait := flag.Bool("wait-for-app", false, "hold the public port shut until /enclave/ready")
	debug := flag.Bool("debug", false, "run outside an enclave, and attest nothing")
	flag.Int("ext-priv-port", 444, "ignored: the port of a server that is not there")
	proxyPort := flag.Uint("host-proxy-port", 1024, "vsock port of gvproxy on the parent")
	flag.Parse()

	target, err := url.Parse(*application)
	if err != nil || target.Host == "" {
		return fmt.Errorf("-appwebsrv %q is no URL", *application)
	}
	if !*wait {
		return fmt.Errorf("only -wait-for-app is known")
	}
	attest, publicHost := attestation, ""
	if *debug {
		attest, publicHost = attestNothing, "127.0.0.1"
	} else {
		if err := bringUp(loopback); err != nil {
			return err
		}
		if err := forwardAll(os.Getenv(forwardsVariable)); err != nil {
			return err
		}
		go keepNetwork(uint32(*proxyPort))
	}

	certificate, err := selfSigned(*name)
	if err != nil {
		return err
	}
	enclave := newEnclave(certificate.Certificate[0], attest)
	internal, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(*internalPort)))
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- http.Serve(internal, enclave.internal()) }()
	go func() {
		<-enclave.opened
		ended <- servePublic(net.JoinHostPort(publicHost, strconv.Itoa(*publicPort)), certificate, enclave.public(target))
	}()
	return <-ended
}

func forwardAll(ports string) error {
	for _, text := range strings.FieldsFunc(ports, func(r rune) bool { return r == ',' }) {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return fmt.Errorf("%s: %w", forwardsVariable, err)
		}
		if err := forward(uint32(port)); err != nil {
			return err
		}
	}
	return nil
}
