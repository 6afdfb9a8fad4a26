package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

type mount struct {
	kind   string
	target string
	flags  uintptr
	data   string
}

type link struct {
	name   string
	target string
}

const (
	device  = syscall.MS_NOSUID | syscall.MS_NOEXEC
	nothing = syscall.MS_NODEV | syscall.MS_NOSUID | syscall.MS_NOEXEC
)

// bootMounts are the mounts that init itself needs.
var bootMounts = []mount{{"devtmpfs", "/dev", device, "mode=0755"}}

// rootfsMounts are the mounts of the image's command, parents first.
var rootfsMounts = []mount{
	{"devtmpfs", "/dev", device, "mode=0755"},
	{"devpts", "/dev/pts", device, "mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", nothing, "mode=1777"},
	{"proc", "/proc", nothing, ""},
	{"sysfs", "/sys", nothing | syscall.MS_RDONLY, ""},
	{"tmpfs", "/run", nothing, "mode=0755"},
	{"tmpfs", "/tmp", nothing, "mode=1777"},
}

var rootfsLinks = []link{
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
}

func mountAll(mounts []mount, below string) error {
	for _, each := range mounts {
		target := below + each.target
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(each.kind, target, each.kind, each.flags, each.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", each.kind, target, err)
		}
	}
	return nil
}

func linkAll(links []link, below string) error {
	for _, each := range links {
		if err := os.Symlink(each.target, below+each.name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
