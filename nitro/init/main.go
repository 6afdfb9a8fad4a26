// Command init is the first process of the enclave. It tells the parent instance that the enclave is up, lays out
// the mounts that a container has, runs the image's command below /rootfs, and ends the enclave when that ends.
//
// The ramdisk's layout is the one that nitro-cli makes (facts/enclave.md 3.3): /rootfs, /cmd with one argument a line,
// /env with one NAME=VALUE a line.
package main

import (
	"fmt"
	"os"
	"syscall"
)

const rootfs = "/rootfs"

func main() {
	err := run()
	fmt.Fprintln(os.Stderr, "init:", err)
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Fprintln(os.Stderr, "init: reboot:", err)
	}
	os.Exit(1)
}

// run returns only when the enclave has to end, and always with the reason.
func run() error {
	if err := mountAll(bootMounts, ""); err != nil {
		return err
	}
	if err := heartbeat(parentCID(os.Getenv("PARENT_CID"))); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	command, err := readLines("/cmd")
	if err != nil {
		return err
	}
	environment, err := readLines("/env")
	if err != nil {
		return err
	}
	if err := mountAll(rootfsMounts, rootfs); err != nil {
		return err
	}
	if err := linkAll(rootfsLinks, rootfs); err != nil {
		return err
	}
	return runBelow(rootfs, command, environment)
}
