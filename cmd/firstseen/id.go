package main

import (
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

// idHelp says how an ID is given.
const idHelp = "An ID is given as the relay takes it: a header's text, a key, the text of a JSON\n" +
	"string; a JSON number is #12, and a text that begins with # gets one more in front.\n" +
	"Other bytes, and an ID of several parts, are given in hexadecimal by --hex, as\n" +
	"firstseen markers shows them."

// idFlags are --id and --hex.
type idFlags struct {
	text string
	hex  bool
	id   []byte // set by check
}

func (i *idFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&i.text, "id", "", "the ID of a message")
	cmd.Flags().BoolVar(&i.hex, "hex", false, "the ID is given in hexadecimal")
}

func (i *idFlags) check(f *faults) {
	f.need("id", i.text, "--id ID, and --hex if that is in hexadecimal")
	i.parse(f)
}

func (i *idFlags) parse(f *faults) {
	i.id = []byte(i.text)
	if !i.hex {
		return
	}
	var err error
	if i.id, err = hex.DecodeString(i.text); err != nil {
		f.addf("--hex: the ID is not hexadecimal; give two of 0-9 and a-f for each byte, or leave --hex out")
	}
}

// idWords shows a stored ID, and as what: its text where that can be given to
// --id as it stands, otherwise its bytes in hexadecimal, or its SHA-256.
func idWords(id []byte, kind store.IDKind) (as, words string) {
	switch {
	case kind == store.IDDigest:
		return "sha256", hex.EncodeToString(id)
	case legible(string(id)):
		return "text", string(id)
	default:
		return "hex", hex.EncodeToString(id)
	}
}

// legible reports whether a text shows on a terminal as what it is.
func legible(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) &&
		strings.TrimSpace(s) == s
}
