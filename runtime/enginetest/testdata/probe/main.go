// Command probe does in the guest what busybox cannot: dial, listen, read
// extended attributes and use up memory.
package main

import (
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
		return fmt.Errorf("usage: probe dial NETWORK ADDRESS | echo ADDRESS | eat MIB | xattr FILE NAME")
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
	case "xattr":
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
