package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/firstseen/firstseen/store"
)

// A store is for one process, so who has it open is the only one who can say what
// it holds. A relay answers stat on a socket in a directory of its own inside the
// store's, which only the owner of the store may enter: the store itself refuses
// whatever else lies beside its files.

// liveTimeout bounds a question to a running program.
const liveTimeout = 10 * time.Second

func liveSocket(dir string) string { return filepath.Join(dir, "run", "stat") }

// liveQuestion is what stat asks.
type liveQuestion struct {
	Format   string
	Segments bool
}

// liveOK comes before a report; anything else is why there is none.
const liveOK = "ok\n"

// live answers stat for a store that is open.
type live struct {
	st       *store.Store
	listener net.Listener
	stopped  chan struct{}
}

// startLive begins to answer. Where that cannot be, as in a directory whose path is
// too long for a socket, it warns, and nothing else is worse for it.
func startLive(logger *slog.Logger, st *store.Store, dir string) *live {
	l := &live{st: st, stopped: make(chan struct{})}
	path := liveSocket(dir)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		// One that a killed process left: nobody else has the store open now.
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		l.listener, err = net.Listen("unix", path)
	}
	if err != nil {
		logger.Warn("firstseen stat cannot be answered while the store is in use", "reason", err)
		close(l.stopped)
		return l
	}
	go l.serve()
	return l
}

func (l *live) serve() {
	defer close(l.stopped)
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.answer(conn)
		}
	}
}

// end stops answering, before the store is closed.
func (l *live) end() {
	if l.listener != nil {
		_ = l.listener.Close() // it removes the socket
	}
	<-l.stopped
}

// answer writes a report, or why there is none. Whoever asked and went away has no
// use for an error.
func (l *live) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(liveTimeout))
	var q liveQuestion
	if json.NewDecoder(conn).Decode(&q) != nil {
		return
	}
	var text bytes.Buffer
	out := outputFlag{q.Format}
	report, err := statOpen(l.st, q.Segments)
	if err == nil {
		text.WriteString(liveOK)
		report.InUse = true
		err = out.print(&text, report, report.writeTable)
	}
	if err != nil {
		text.Reset()
		text.WriteString(err.Error())
	}
	_, _ = conn.Write(text.Bytes())
}

// askLive asks the program that has the store open, which locked says. It returns
// locked, with the way out, when that program does not answer.
func askLive(w io.Writer, dir string, q liveQuestion, locked error) error {
	conn, err := net.DialTimeout("unix", liveSocket(dir), liveTimeout)
	if err != nil {
		return fmt.Errorf("%w, or let its program call Store.Stats and Namespace.Status; a firstseen relay answers by itself",
			locked)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(liveTimeout))
	var answer []byte
	if err = json.NewEncoder(conn).Encode(q); err == nil {
		answer, err = io.ReadAll(conn)
	}
	report, ok := bytes.CutPrefix(answer, []byte(liveOK))
	switch {
	case err != nil:
		return fmt.Errorf("%w; the program that has it open did not answer: %w", locked, err)
	case !ok:
		return fmt.Errorf("%w; the program that has it open says: %s", locked, answer)
	}
	_, err = w.Write(report)
	return err
}
