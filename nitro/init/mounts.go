package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

type mount struct {
	fstype string
	target string
	flags  uintptr
	data   string
}

type link struct {
	name   string
	target string
}

const (
	deviceFlags = syscall.MS_NOSUID | syscall.MS_NOEXEC
	strictFlags = syscall.MS_NODEV | syscall.MS_NOSUID | syscall.MS_NOEXEC
)

// bootMounts are the mounts that init itself needs.
var bootMounts = []mount{{"devtmpfs", "/dev", deviceFlags, "mode=0755"}}

// rootfsMounts are the mounts of the image's command, parents first.
var rootfsMounts = []mount{
	{"devtmpfs", "/dev", deviceFlags, "mode=0755"},
	{"devpts", "/dev/pts", deviceFlags, "mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", strictFlags, "mode=1777"},
	{"proc", "/proc", strictFlags, ""},
	{"sysfs", "/sys", strictFlags | syscall.MS_RDONLY, ""},
	{"tmpfs", "/run", strictFlags, "mode=0755"},
	{"tmpfs", "/tmp", strictFlags, "mode=1777"},
}

var rootfsLinks = []link{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

func mountAll(mounts []mount, root string) error {
	for _, each := range mounts {
		target := root + each.target
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(each.fstype, target, each.fstype, each.flags, each.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", each.fstype, target, err)
		}
	}
	return nil
}

func linkAll(links []link, root string) error {
	for _, each := range links {
		if err := os.Symlink(each.target, root+each.name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
