package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is told of damage is one line each, also where the storage engine says it.
func TestDamage_IsToldInOneLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	accept(t, n, 0, 200, 0)
	require.NoError(t, s.db.Flush())
	require.NoError(t, s.Close())
	tables, err := filepath.Glob(filepath.Join(dir, dataDir, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	path := tables[len(tables)-1]
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[10] ^= 1
	require.NoError(t, os.WriteFile(path, content, 0o600))

	_, opened := Open(dir, nil)
	_, verified := VerifyDir(context.Background(), dir, nil)
	for _, err := range []error{opened, verified} {
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "checksum mismatch")
		require.NotContains(t, err.Error(), "\n")
	}
}

// A database that is gone is damage, not a lock of somebody else's.
func TestVerifyDir_DatabaseGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(dir, dataDir)))
	_, err = VerifyDir(context.Background(), dir, nil)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "db is gone")
}
