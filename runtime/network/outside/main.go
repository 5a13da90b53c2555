// Package outside is the process that is a machine's network: it ends the
// machine's link in a TCP/IP stack, asks package egress about everything that
// the machine begins, and does what is allowed with ordinary sockets.
//
// It parses hostile packets, so it has no privileges and no files.
package outside

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/network"
	"github.com/smolvm/smolvm/runtime/network/dns"
	"github.com/smolvm/smolvm/runtime/network/egress"
	"github.com/smolvm/smolvm/runtime/network/stack"
)

// Main is the whole life of the process that network.Start started, and returns its
// exit status.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "smolvm: network: %v\n", err)
		return 1
	}
	return 0
}

func run() error {
	unix.CloseOnExec(network.FDLink)
	var policy machine.Network
	if err := json.Unmarshal([]byte(os.Getenv(network.Environ)), &policy); err != nil {
		return fmt.Errorf("read the policy: %w", err)
	}
	resolvConf, err := network.AskResolvers(network.FDResolvers)
	if err != nil {
		return err
	}
	if err := confineSelf(); err != nil {
		return err
	}
	filter, err := egress.New(policy, time.Now)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "smolvm: network: this machine may reach %s\n", &policy)
	r := &relay{filter: filter, loopback: policy.HostLoopback, flows: make(chan struct{}, maxFlows)}
	r.resolver = &dns.Server{Filter: filter, Ask: dns.Upstream(resolvConf), Refused: refused}
	return stack.Run(stack.Link{
		FD: network.FDLink, MTU: network.MTU, Gateway: network.Gateway, Subnet: network.Subnet, MAC: network.GatewayMAC,
	}, r)
}

// refused writes a refusal to the machine's log.
func refused(what, rule string) {
	fmt.Fprintf(os.Stderr, "smolvm: network: refused %s: %s\n", what, rule)
}
