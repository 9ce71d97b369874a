// A TLS server like most Go programs: crypto/tls, a pool of authorities from a file, and a required client certificate.
// The server reads the file again at every handshake, so it needs no reload.
//
//	server ADDRESS CERTIFICATE KEY AUTHORITIES
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatalf("usage: %s ADDRESS CERTIFICATE KEY AUTHORITIES", os.Args[0])
	}
	address, authorities := os.Args[1], os.Args[4]
	own, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{own},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pool, err := read(authorities)
			if err != nil {
				return nil, err
			}
			return &tls.Config{
				Certificates: []tls.Certificate{own},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    pool,
			}, nil
		},
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })
	server := &http.Server{Addr: address, Handler: hello, TLSConfig: config}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func read(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
