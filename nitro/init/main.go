// Command init is the first process of the enclave. It sends the boot heartbeat to the parent instance, mounts the file
// systems of a container, runs the image's command chrooted to /rootfs, and reboots, which ends the enclave, when the
// command exits.
//
// The ramdisk is laid out like nitro-cli's (facts/enclave.md 3.3): /rootfs, /cmd with one argument per line, /env with
// one NAME=VALUE per line.
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

// run returns only when the enclave must end, always with the reason as its error.
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
	return runChrooted(rootfs, command, environment)
}
