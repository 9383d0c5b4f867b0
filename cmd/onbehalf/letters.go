package main

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/mail"
	"path"
	"slices"
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
		user, err := recipient(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		letters = append(letters, letter{name: strings.TrimSuffix(path.Base(file), ".eml"), user: user, raw: raw})
	}
	return append(letters, letter{name: "a-few-megabytes", user: "grace@example.com", raw: longLetter(3 << 20), object: true}), nil
}

// recipient is the address in the letter's To.
func recipient(raw []byte) (string, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	to, err := m.Header.AddressList("To")
	if err != nil {
		return "", err
	}
	return to[0].Address, nil
}

// longLetter makes a letter with an attachment of that many bytes, always the same.
func longLetter(size int) []byte {
	attachment := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(attachment)
	var b bytes.Buffer
	b.WriteString("From: Archive <archive@example.com>\r\nTo: grace@example.com\r\nSubject: The scans\r\n" +
		"Date: Fri, 13 Nov 2026 10:00:00 +0000\r\nMessage-ID: <a-few-megabytes@example.com>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/octet-stream; name=\"scans.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(attachment)), 76) {
		fmt.Fprintf(&b, "%s\r\n", line)
	}
	return b.Bytes()
}
