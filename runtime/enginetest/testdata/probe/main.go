// Command probe does in the guest what busybox cannot: dial, listen, read and
// set extended attributes and use up memory.
package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: probe dial NETWORK ADDRESS | swap NETWORK ADDRESS BYTES | echo ADDRESS | eat MIB | xattr FILE NAME [VALUE]")
	}
	switch args[0] {
	case "dial":
		c, err := net.DialTimeout(args[1], args[2], 2*time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	case "echo":
		return echo(args[1])
	case "swap":
		return swap(args[1], args[2], args[3])
	case "xattr":
		if len(args) == 4 {
			return syscall.Setxattr(args[1], args[2], []byte(args[3]), 0)
		}
		value := make([]byte, 256)
		n, err := syscall.Getxattr(args[1], args[2], value)
		if err == nil {
			fmt.Printf("%q", value[:n])
		}
		return err
	case "eat":
		mib, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return eat(mib)
	}
	return fmt.Errorf("unknown command %s", args[0])
}

func echo(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "echo")
			_ = c.Close()
		}
	}()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}

// swap sends bytes to a server that sends them back, and compares.
func swap(network, address, size string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	sent := make([]byte, n)
	_, _ = rand.Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- err
	}()
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return errors.New("other bytes came back")
	}
	fmt.Println("same")
	return <-failed
}

func eat(mib int) error {
	var held [][]byte
	for range mib {
		page := make([]byte, 1<<20)
		for i := 0; i < len(page); i += 512 {
			page[i] = byte(i) | 1
		}
		held = append(held, page)
	}
	fmt.Println("ate", len(held))
	return nil
}
