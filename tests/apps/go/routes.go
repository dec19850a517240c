// The routes of the test programs on Go's net/http.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func number(r *http.Request) int {
	parts := strings.Split(r.URL.Path, "/")
	n, _ := strconv.Atoi(parts[len(parts)-1])
	return n
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { answer(w, 200, []byte("hello\n")) })
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		answer(w, 200, []byte(fmt.Sprint(n)))
	})
	http.HandleFunc("/bytes/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, bytes.Repeat([]byte("b"), number(r)))
	})
	http.HandleFunc("/chunked/", func(w http.ResponseWriter, r *http.Request) {
		for left := number(r); left > 0; left -= 1000 {
			size := left
			if size > 1000 {
				size = 1000
			}
			w.Write(bytes.Repeat([]byte("c"), size))
			w.(http.Flusher).Flush()
		}
	})
	http.HandleFunc("/status/", func(w http.ResponseWriter, r *http.Request) {
		code := number(r)
		if code == 204 || code == 304 {
			w.WriteHeader(code)
			return
		}
		answer(w, code, []byte("status\n"))
	})
	http.HandleFunc("/slow/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(number(r)) * time.Millisecond)
		answer(w, 200, []byte("slow\n"))
	})
	http.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		connection, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer connection.Close()
		io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(connection, buffered)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
