// A service that accepts only API Gateway.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Getenv("SERVER_CERTIFICATE"), os.Getenv("SERVER_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	// RequireAnyClientCert would accept any certificate, and VerifyClientCertIfGiven would accept callers without a certificate.
	base := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS12,
		// The server would not check a resumed session against the current file.
		SessionTicketsDisabled: true,
	}
	config := base.Clone()
	// The file changes while the service runs. An error here ends the handshake, so the server rejects every
	// caller while the file cannot be read.
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := clientCAs(os.Getenv("CLIENT_CA"))
		if err != nil {
			return nil, err
		}
		fresh := base.Clone()
		fresh.ClientCAs = pool
		return fresh, nil
	}
	server := &http.Server{
		Addr:      os.Getenv("LISTEN"),
		TLSConfig: config,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello, %s\n", r.TLS.PeerCertificates[0].Subject)
		}),
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func clientCAs(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate")
	}
	return pool, nil
}
