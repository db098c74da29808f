package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// What the consumers of the demo keep, in their directories.
const (
	demoStore  = "store"
	demoLedger = "ledger"
	demoMarks  = "marks"

	statePayment = "payment/" // with the ID: how often it was paid
	stateBalance = "balance"
)

// effects are what a consumer did, read from where it keeps them.
type effects struct {
	paid    map[string]int64 // how often, by payment
	balance int64            // cents
}

// ledgerFile is the other system of a plain consumer: what is appended stays,
// whatever happens to the process.
type ledgerFile struct{ *os.File }

func openLedger(path string) (*ledgerFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &ledgerFile{f}, err
}

func (l *ledgerFile) append(rec *kgo.Record) error {
	_, err := fmt.Fprintf(l, "%s %s\n", rec.Headers[0].Value, rec.Value)
	return err
}

// readLedger counts the effects of a plain consumer.
func readLedger(dir string) (e effects, err error) {
	e.paid = map[string]int64{}
	err = eachLine(filepath.Join(dir, demoLedger), func(line string) error {
		id, amount, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(amount, 10, 64)
		e.paid[id]++
		e.balance += n
		return err
	})
	return e, err
}

// markSet is a set of marks beside the effects, such as keys in a cache.
type markSet struct {
	*os.File
	marked map[string]bool
}

func openMarks(path string) (*markSet, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s := &markSet{f, map[string]bool{}}
	return s, eachLine(path, func(id string) error { s.marked[id] = true; return nil })
}

// add sets a mark and reports whether it was not set before.
func (s *markSet) add(id string) (fresh bool, err error) {
	if s.marked[id] {
		return false, nil
	}
	s.marked[id] = true
	_, err = fmt.Fprintln(s, id)
	return true, err
}

func eachLine(path string, fn func(line string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := fn(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// readState counts the effects that firstseen keeps in its store.
func readState(dir string) (e effects, err error) {
	e.paid = map[string]int64{}
	quiet := slog.New(slog.DiscardHandler)
	st, err := store.Open(filepath.Join(dir, demoStore), &store.Options{Logger: quiet})
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	for name := range st.Namespaces() {
		ns, err := st.Namespace(name, nil)
		if err != nil {
			return e, err
		}
		err = ns.View(func(v *store.View) error {
			balance, err := v.Int([]byte(stateBalance))
			if err != nil {
				return err
			}
			e.balance += balance
			return v.Scan([]byte(statePayment), func(key, value []byte) error {
				id := strings.TrimPrefix(string(key), statePayment)
				e.paid[id] += int64(binary.BigEndian.Uint64(value)) // as Tx.Add keeps it
				return nil
			})
		})
		if err != nil {
			return e, err
		}
	}
	return e, nil
}

// lost and doubled compare the effects with the payments that were made.
func (r *demoRow) lost() (n uint64) {
	for i := range r.stream.payments {
		if r.paid[string(payment(i).Headers[0].Value)] == 0 {
			n++
		}
	}
	return n
}

func (r *demoRow) doubled() (n uint64) {
	for _, times := range r.paid {
		n += uint64(max(times-1, 0))
	}
	return n
}

func (r *demoRow) handled() (n uint64) {
	for _, times := range r.paid {
		n += uint64(times)
	}
	return n
}

// writeDemo prints the table and the last line, and returns errBadVerdict when
// firstseen itself lost or doubled a payment.
func writeDemo(w io.Writer, rows []demoRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nconsumer           \texpected\thandled\tlost\tdoubled\tbalance\trecords/s\t")
	for _, r := range rows {
		balance := "right"
		if r.balance != r.stream.balance {
			balance = "wrong"
		}
		fmt.Fprintf(t, "%-19s\t%s\t%s\t%s\t%s\t%s\t%s\t\n",
			r.title, grouped(uint64(r.stream.payments)), grouped(r.handled()),
			grouped(r.lost()), grouped(r.doubled()), balance, grouped(uint64(r.perSecond)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "records/s: side by side, with all crashes and restarts")
	own := rows[len(rows)-1]
	lost, doubled := own.lost(), own.doubled()
	fmt.Fprintf(w, "firstseen: lost %d, doubled %d\n", lost, doubled)
	if lost != 0 || doubled != 0 || own.balance != own.stream.balance {
		return fmt.Errorf("%w: lost %d, doubled %d, balance %d of %d; report it with the output above",
			errBadVerdict, lost, doubled, own.balance, own.stream.balance)
	}
	return nil
}
