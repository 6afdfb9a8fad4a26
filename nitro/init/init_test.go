package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParentCID(t *testing.T) {
	for setting, want := range map[string]uint32{"": 3, "2": 2, "host": 3, "-1": 3, "4294967296": 3} {
		if got := parentCID(setting); got != want {
			t.Errorf("parentCID(%q) = %d, want %d", setting, got, want)
		}
	}
}

func TestVsockAddress(t *testing.T) {
	got := vsockAddress(3, 9000)
	want := []byte{40, 0, 0, 0, 0x28, 0x23, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}
	if !bytes.Equal(got[:], want) {
		t.Errorf("got % x", got)
	}
}

type parent struct {
	answer   byte
	received []byte
}

func (p *parent) Write(sent []byte) (int, error) {
	p.received = append(p.received, sent...)
	return len(sent), nil
}

func (p *parent) Read(buffer []byte) (int, error) {
	buffer[0] = p.answer
	return 1, nil
}

func TestExchange(t *testing.T) {
	right := &parent{answer: 0xB7}
	if err := exchange(right); err != nil || !bytes.Equal(right.received, []byte{0xB7}) {
		t.Errorf("error %v, received % x", err, right.received)
	}
	if err := exchange(&parent{answer: 0}); err == nil || !strings.Contains(err.Error(), "0x00 instead of 0xB7") {
		t.Errorf("a wrong answer gave %v", err)
	}
}

func TestReadLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cmd")
	if err := os.WriteFile(name, []byte("/bin/a\n\n b c \nlast"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := readLines(name)
	if err != nil || !slices.Equal(lines, []string{"/bin/a", " b c ", "last"}) {
		t.Errorf("%q, %v", lines, err)
	}
	if _, err := readLines(name + ".absent"); err == nil {
		t.Error("an absent file gave no error")
	}
}

func TestRunChrootedReportsTheExit(t *testing.T) {
	for script, want := range map[string]string{
		"exit 7":      "/bin/sh ended: status 7",
		"kill -9 $$":  "/bin/sh ended: signal killed",
		"exec /bin/x": "/bin/sh ended: status 127",
	} {
		err := runChrooted("/", []string{"/bin/sh", "-c", script}, []string{"PATH=/bin"})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", script, err)
		}
	}
	for _, command := range [][]string{nil, {"sh"}} {
		if err := runChrooted("/", command, nil); err == nil || !strings.Contains(err.Error(), "absolute path") {
			t.Errorf("%q: %v", command, err)
		}
	}
}
