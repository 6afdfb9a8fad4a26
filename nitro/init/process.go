package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// readLines returns the non-empty lines of a file.
func readLines(name string) ([]string, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// runChrooted runs the command with folder as its root, and reaps orphans until it exits.
func runChrooted(folder string, command, environment []string) error {
	if len(command) == 0 || !strings.HasPrefix(command[0], "/") {
		return fmt.Errorf("/cmd has to begin with an absolute path, not %q", command)
	}
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Dir:   "/",
		Env:   environment,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Chroot: folder, Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", command[0], err)
	}
	for {
		var status syscall.WaitStatus
		reaped, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w", command[0], err)
		}
		if reaped == pid {
			return fmt.Errorf("%s ended: %s", command[0], describe(status))
		}
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("status %d", status.ExitStatus())
}
