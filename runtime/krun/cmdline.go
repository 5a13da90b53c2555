package krun

import "strings"

// cmdline is the guest kernel's command line.
var cmdline = strings.Join([]string{
	"root=/dev/vda rootfstype=erofs ro init=/agent",
	// Without a TTY of its own the console costs nothing until the kernel has
	// something to complain about.
	"console=hvc0 quiet",
	"reboot=k panic=-1 no-kvmapf",
	// No network interface but the loopback, unless there is a device for one.
	"dummy.numdummies=0",
	// Without a policy SELinux forbids nothing, and is asked all the time.
	"lsm=capability",
	"initcall_blacklist=" + strings.Join(unused, ","),
}, " ")

// unused are parts of libkrunfw's kernel that it need not set up, by their
// initcalls, because no command may use them: another hypervisor within the
// machine; file systems that cannot be mounted, and what measures the fastest way
// to reckon their parities; loop devices; keys (see agent/exec's filter); a source of
// random numbers for what these would encrypt; a clock chip that is not there. A
// kernel that has none of that name ignores it.
var unused = []string{
	"svm_init", "vmx_init",
	"init_btrfs_fs", "init_xfs_fs", "raid6_select_algo", "calibrate_xor_blocks",
	"loop_init", "init_encrypted", "jent_mod_init", "cmos_init",
}
