package store

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The directory run is the program's: a socket that it left there, when it was
// killed, is in nobody's way, also not in that of who looks into the store.
func TestOpen_RunDirectoryIsThePrograms(t *testing.T) {
	t.Chdir(t.TempDir()) // the path of a socket has to be short
	st, err := Open("st", nil)
	require.NoError(t, err)
	require.NoError(t, st.Close())
	require.NoError(t, os.Mkdir(filepath.Join("st", runDir), 0o755))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join("st", runDir, "stat"), Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())

	for _, o := range []*Options{nil, {ReadOnly: true}} {
		st, err = Open("st", o)
		require.NoError(t, err)
		require.NoError(t, st.Close())
	}
	fi, err := os.Stat(filepath.Join("st", runDir))
	require.NoError(t, err)
	require.EqualValues(t, 0o700, fi.Mode().Perm(), "only the owner may ask")
	report, err := VerifyDir(t.Context(), "st", nil)
	require.NoError(t, err)
	require.NoError(t, report.Err())
}
