// Server and client on Go's net/http with HTTP/1.1 and HTTP/2, in the clear and over TLS:
//
//	web serve PORT [CHAIN KEY]
//	web send < plan.json > exchanges.json
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func answer(w http.ResponseWriter, status int, body []byte) {
	if status != 204 && status != 304 {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	w.Write(body)
}

func route(w http.ResponseWriter, r *http.Request) {
	parts := append(strings.Split(r.URL.Path, "/"), "", "")
	number, _ := strconv.Atoi(parts[2])
	switch parts[1] {
	case "hello":
		answer(w, 200, []byte("hello\n"))
	case "echo":
		n, _ := io.Copy(io.Discard, r.Body)
		answer(w, 200, []byte(fmt.Sprint(n)))
	case "bytes":
		answer(w, 200, bytes.Repeat([]byte("b"), number))
	case "status":
		if number == 204 || number == 304 {
			answer(w, number, nil)
		} else {
			answer(w, number, []byte("status\n"))
		}
	case "slow":
		time.Sleep(time.Duration(number) * time.Millisecond)
		answer(w, 200, []byte("slow\n"))
	default:
		answer(w, 404, []byte("none\n"))
	}
}

func serve(arguments []string) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Addr: "127.0.0.1:" + arguments[0], Handler: http.HandlerFunc(route), Protocols: &protocols,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if len(arguments) == 3 {
		return server.ListenAndServeTLS(arguments[1], arguments[2])
	}
	return server.ListenAndServe()
}

type request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   int    `json:"body"`
}

type plan struct {
	Address     string      `json:"address"`
	Version     string      `json:"version"`
	Authority   *string     `json:"authority"`
	InFlight    int         `json:"in_flight"`
	Connections [][]request `json:"connections"`
	Gate        *gate       `json:"gate"`
}

// Where the client waits on each connection, once so many requests were answered.
type gate struct {
	After     int    `json:"after"`
	Directory string `json:"directory"`
}

func (g *gate) wait(connection int) error {
	if err := os.WriteFile(fmt.Sprintf("%s/c%d", g.Directory, connection), nil, 0o644); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(g.Directory + "/open"); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

type exchange struct {
	Connection int    `json:"connection"`
	Port       int    `json:"port"`
	Method     string `json:"method"`
	Path       string `json:"path"`
	Status     int    `json:"status"`
	Body       int64  `json:"body"`
}

// A session that each time is written to from another depth of a new goroutine's stack: where the stack is full just then,
// Write begins, finds no room, and begins once more.
type deep struct {
	*tls.Conn
	depth int
}

func (d *deep) Write(bytes []byte) (n int, err error) {
	d.depth = (d.depth + 1) % 48
	var done sync.WaitGroup
	done.Go(func() { n, err = writeAt(d.depth, d.Conn, bytes) })
	done.Wait()
	return
}

//go:noinline
func writeAt(depth int, session *tls.Conn, bytes []byte) (int, error) {
	if depth == 0 {
		return session.Write(bytes)
	}
	n, err := writeAt(depth-1, session, bytes)
	return n, err
}

func (p *plan) transport(connection int) (*http.Transport, error) {
	var protocols http.Protocols
	protocols.SetHTTP1(p.Version == "h1")
	protocols.SetHTTP2(p.Version == "h2" && p.Authority != nil)
	protocols.SetUnencryptedHTTP2(p.Version == "h2" && p.Authority == nil)
	transport := &http.Transport{Protocols: &protocols, MaxConnsPerHost: 1, DisableCompression: true}
	if p.Authority != nil {
		text, err := os.ReadFile(*p.Authority)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		transport.TLSClientConfig = config
		if p.Version == "h1" && connection%2 == 1 {
			dialer := tls.Dialer{Config: config}
			transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				session, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &deep{Conn: session.(*tls.Conn)}, nil
			}
		}
	}
	return transport, nil
}

func (p *plan) one(transport *http.Transport, connection, ordinal int, asked request) (exchange, error) {
	done := exchange{Connection: connection, Method: asked.Method, Path: asked.Path}
	scheme := "http"
	if p.Authority != nil {
		scheme = "https"
	}
	var body io.Reader
	if asked.Body > 0 {
		body = bytes.NewReader(bytes.Repeat([]byte("b"), asked.Body))
	}
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		done.Port = got.Conn.LocalAddr().(*net.TCPAddr).Port
	}}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	message, err := http.NewRequestWithContext(ctx, asked.Method, scheme+"://"+p.Address+asked.Path, body)
	if err != nil {
		return done, err
	}
	if p.Gate != nil {
		message.Header.Set("x-serial", fmt.Sprintf("serial-of-the-request-%06d", ordinal))
	}
	response, err := transport.RoundTrip(message)
	if err != nil {
		return done, err
	}
	defer response.Body.Close()
	done.Status = response.StatusCode
	done.Body, err = io.Copy(io.Discard, response.Body)
	return done, err
}

func send() error {
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	flight := p.InFlight
	if p.Version == "h1" || flight < 1 {
		flight = 1
	}
	var mutex sync.Mutex
	var all sync.WaitGroup
	exchanges := []exchange{}
	for connection, asked := range p.Connections {
		transport, err := p.transport(connection)
		if err != nil {
			return err
		}
		work := make(chan int)
		var answered sync.WaitGroup
		for range flight {
			all.Add(1)
			go func() {
				defer all.Done()
				for ordinal := range work {
					done, err := p.one(transport, connection, ordinal, asked[ordinal])
					if err != nil {
						log.Fatalf("%v: %v", asked[ordinal], err)
					}
					mutex.Lock()
					exchanges = append(exchanges, done)
					mutex.Unlock()
					answered.Done()
				}
			}()
		}
		go func() {
			for ordinal := range asked {
				if p.Gate != nil && p.Gate.After == ordinal {
					answered.Wait()
					if err := p.Gate.wait(connection); err != nil {
						log.Fatal(err)
					}
				}
				answered.Add(1)
				work <- ordinal
			}
			close(work)
		}()
	}
	all.Wait()
	return json.NewEncoder(os.Stdout).Encode(exchanges)
}

func main() {
	log.SetFlags(0)
	var err error
	if os.Args[1] == "serve" {
		err = serve(os.Args[2:])
	} else {
		err = send()
	}
	if err != nil {
		log.Fatal(err)
	}
}
