package main

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
)

//go:embed testdata/letters/*.eml
var letterFiles embed.FS

// letter is one letter that the demo delivers.
type letter struct {
	name, user string
	raw        []byte
	object     bool // it lies in Cloud Storage, being too long for a message
}

// demoLetters are letters of the kinds that occur, each for its first recipient.
func demoLetters() ([]letter, error) {
	files, err := fs.Glob(letterFiles, "testdata/letters/*.eml")
	if err != nil {
		return nil, err
	}
	var letters []letter
	for _, file := range files {
		raw, err := letterFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		letters = append(letters, letter{name: strings.TrimSuffix(path.Base(file), ".eml"), user: recipient(raw), raw: raw})
	}
	return append(letters, letter{name: "a-few-megabytes", user: "grace@example.com", raw: longLetter(3 << 20), object: true}), nil
}

// recipient finds the address in the letter's To.
func recipient(raw []byte) string {
	_, rest, _ := bytes.Cut(raw, []byte("\nTo: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	to := strings.TrimSpace(string(line))
	if _, address, ok := strings.Cut(to, "<"); ok {
		to = strings.TrimSuffix(address, ">")
	}
	return to
}

// longLetter makes a letter with an attachment of that many bytes, always the same.
func longLetter(size int) []byte {
	attachment := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(attachment)
	var b bytes.Buffer
	b.WriteString("From: Archive <archive@example.com>\r\nTo: grace@example.com\r\nSubject: The scans\r\n" +
		"Date: Fri, 13 Nov 2026 10:00:00 +0000\r\nMessage-ID: <a-few-megabytes@example.com>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/octet-stream; name=\"scans.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for line := range chunks(base64.StdEncoding.EncodeToString(attachment), 76) {
		fmt.Fprintf(&b, "%s\r\n", line)
	}
	return b.Bytes()
}

func chunks(s string, size int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			n := min(size, len(s))
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}
