package s3client

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair is both ends of a TCP connection; a pipe would not do, because its
// writes wait for the reader.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	here, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func TestASilentConnectionFails(t *testing.T) {
	here, _ := pair(t)
	conn := &movingConn{Conn: here, stall: 10 * time.Millisecond}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
	block := make([]byte, 1<<20)
	var err error
	for range 1 << 10 { // until the buffers of both kernels' ends are full
		if _, err = conn.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
}

func TestALongUploadKeepsTheOtherDirectionAlive(t *testing.T) {
	here, there := pair(t)
	const stall = 200 * time.Millisecond
	conn := &movingConn{Conn: here, stall: stall}
	answered := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := io.ReadFull(conn, make([]byte, 1))
		answered <- err
	}()
	buffer := make([]byte, 1)
	for time.Since(began) < 3*stall { // longer than a silent connection may last
		if _, err := conn.Write(buffer); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(there, buffer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := there.Write(buffer); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the answer after a long upload: %v", err)
	}
}
