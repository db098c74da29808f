//go:build kafka

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// accounts are how many balances the consumer keeps in each partition.
const accounts = 1000

func init() {
	programs["credit"] = func() {
		if err := credit(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5] == "true"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// credit keeps, in the store, how often and by how much each account was
// credited.
func credit(brokers, topic, group, dir string, last bool) (err error) {
	st, err := store.Open(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	add := func(_ context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		account, amount, err := posting(rec.Key, rec.Value)
		if err != nil {
			return err
		}
		if _, err := tx.Add([]byte("count/"+account), 1); err != nil {
			return err
		}
		_, err = tx.Add([]byte("balance/"+account), amount)
		return err
	}
	c, err := adapter.New(st, add, &adapter.Options{
		Brokers: strings.Split(brokers, ","), Group: group, Topics: []string{topic},
		ID: adapter.Key(), UntilEnd: last,
	})
	if err != nil {
		return err
	}
	return c.Run(context.Background())
}

// posting is what a record does to which account.
func posting(key, value []byte) (account string, amount int64, err error) {
	k, err := strconv.Atoi(string(key))
	if err != nil {
		return "", 0, err
	}
	v, err := strconv.ParseInt(string(value), 10, 64)
	return strconv.Itoa(k % accounts), v + 1, err
}

// State in the store against a real Kafka: exactly once, over kills at random
// points.
func TestConsumer_StateExactlyOnce(t *testing.T) {
	in := realInput(t)
	group, dir := kafkatest.Name(t), filepath.Join(t.TempDir(), "store")
	in.survive(t, group, func(last bool) *exec.Cmd {
		return exec.Command("credit", strings.Join(in.Brokers(), ","), in.topic, group, dir, strconv.FormatBool(last))
	})

	st, err := store.Open(dir, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	for p, first := range in.first {
		want := map[string]int64{}
		for _, r := range first {
			account, amount, err := posting(r.Key, r.Value)
			require.NoError(t, err)
			want["count/"+account]++
			want["balance/"+account] += amount
		}
		got := state(t, st, fmt.Sprintf("%s/%s/%d", group, in.topic, p))
		require.Len(t, got, len(want), "partition %d", p)
		for key, n := range want {
			require.Equal(t, n, got[key], "partition %d: %s", p, key)
		}
	}
}

func state(t *testing.T, st *store.Store, namespace string) map[string]int64 {
	t.Helper()
	ns, err := st.Namespace(namespace, nil)
	require.NoError(t, err)
	all := map[string]int64{}
	require.NoError(t, ns.View(func(v *store.View) error {
		return v.Scan(nil, func(key, _ []byte) (err error) {
			all[string(key)], err = v.Int(key)
			return err
		})
	}))
	return all
}
