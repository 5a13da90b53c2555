//go:build ignore

// Exits is a PID 1 that ends at once, which ends its machine.
package main

func main() {}
