package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/firstseen/firstseen/adapter"
)

// setting is a key of -X. Those without apply belong together and are applied
// by security.
type setting struct {
	key   string
	help  string
	apply func(o *adapter.Options, value string) error
}

// settings are all keys of -X, in order.
var settings = []setting{
	{"batch.max.bytes", "most bytes of a batch that is read, once it is decompressed (default 268435456)",
		option(asBytes, func(n int32) kgo.Opt { return kgo.MaxDecompressBatchBytes(int(n)) })},
	{"client.id", "name of the client in the brokers' logs", option(asText, kgo.ClientID)},
	{"client.rack", "rack of the client, to read from near replicas", option(asText, kgo.Rack)},
	{"compression", "of the output: none, gzip, snappy, lz4 or zstd (default snappy)", compression},
	{"fetch.max.bytes", "most bytes of a fetch", option(asBytes, kgo.FetchMaxBytes)},
	{"fetch.max.wait", "longest wait of a fetch, such as 500ms", option(asDuration, kgo.FetchMaxWait)},
	{"heartbeat.interval", "time between heartbeats (default 3s)",
		option(asDuration, kgo.HeartbeatInterval)},
	{"linger", "longest wait for more output before it is sent (default 0s)",
		option(asDuration, kgo.ProducerLinger)},
	{"max.poll.records", "most records of a batch (default 500)", maxPollRecords},
	{"sasl.mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", nil},
	{"sasl.password.env", "name of the environment variable that holds the password", nil},
	{"sasl.password.file", "path of the file that holds the password", nil},
	{"sasl.user", "name of the user", nil},
	{"session.timeout", "how long a silent member keeps its partitions (default 45s)",
		option(asDuration, kgo.SessionTimeout)},
	{"tls", "true: with the system's roots; any other tls setting implies it", nil},
	{"tls.ca", "path of the roots to trust instead, PEM", nil},
	{"tls.cert", "path of the client's certificate, PEM", nil},
	{"tls.key", "path of the client's key, PEM", nil},
}

func settingsHelp() string {
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "  %-19s %s\n", s.key, s.help)
	}
	return b.String()
}

// applySettings sets in o what the pairs key=value ask for, or returns
// everything that is wrong with them.
func applySettings(o *adapter.Options, pairs []string) error {
	given := map[string]string{}
	var errs []error
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
		_, twice := given[key]
		switch {
		case !ok || value == "":
			errs = append(errs, fmt.Errorf("-X %q has no value; give key=value", key))
		case i < 0:
			var known []string
			for _, s := range settings {
				known = append(known, s.key)
			}
			errs = append(errs, fmt.Errorf(
				"-X %s is not known; give one of %s", key, strings.Join(known, ", ")))
		case twice:
			errs = append(errs, fmt.Errorf("-X %s is given twice; give it once", key))
		default:
			given[key] = value
			if settings[i].apply == nil {
				continue
			}
			if err := settings[i].apply(o, value); err != nil {
				errs = append(errs, fmt.Errorf("-X %s: %w", key, err))
			}
		}
	}
	errs = append(errs, security(o, given))
	return errors.Join(errs...)
}

// option makes the apply of a setting that is one option of the client.
func option[T any, O kgo.Opt](
	parse func(string) (T, error), opt func(T) O,
) func(*adapter.Options, string) error {
	return func(o *adapter.Options, value string) error {
		v, err := parse(value)
		if err == nil {
			o.Client = append(o.Client, opt(v))
		}
		return err
	}
}

func asText(value string) (string, error) { return value, nil }

func asBytes(value string) (int32, error) {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a number of bytes; give 1 to 2147483647", value)
	}
	return int32(n), nil
}

func asDuration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration; give one such as 500ms, 30s or 5m", value)
	}
	return d, nil
}

func maxPollRecords(o *adapter.Options, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a number of records; give 1 or more", value)
	}
	o.MaxPollRecords = n
	return nil
}

func compression(o *adapter.Options, value string) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[value]
	if !ok {
		return fmt.Errorf("%q is not known; give none, gzip, snappy, lz4 or zstd", value)
	}
	o.Client = append(o.Client, kgo.ProducerBatchCompression(codec))
	return nil
}

// security applies the settings of TLS and SASL. A password never goes over a
// connection that can be listened to, and never stands in the command line.
func security(o *adapter.Options, given map[string]string) error {
	config, errTLS := tlsConfig(given)
	if config != nil {
		o.Client = append(o.Client, kgo.DialTLSConfig(config))
	}
	mechanism, errSASL := saslMechanism(given, config != nil)
	if mechanism != nil {
		o.Client = append(o.Client, kgo.SASL(mechanism))
	}
	return errors.Join(errTLS, errSASL)
}

// tlsConfig returns nil when TLS is not asked for.
func tlsConfig(given map[string]string) (*tls.Config, error) {
	ca, cert, key := given["tls.ca"], given["tls.cert"], given["tls.key"]
	implied := ca != "" || cert != "" || key != ""
	switch on := given["tls"]; {
	case on == "" && !implied, on == "false" && !implied:
		return nil, nil
	case on == "false":
		return nil, errors.New("-X tls=false goes with no other tls setting; leave one out")
	case on != "" && on != "true":
		return nil, fmt.Errorf("-X tls: %q is not known; give true or false", on)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return config, fmt.Errorf("-X tls.ca: %w; give a file that can be read", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return config, fmt.Errorf("-X tls.ca: %s holds no certificate; give one in PEM", ca)
		}
	}
	if (cert == "") != (key == "") {
		return config, errors.New("-X tls.cert and tls.key go together; give both")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return config, fmt.Errorf("-X tls.cert, tls.key: %w; give a certificate and its key in PEM", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// saslMechanism returns nil when SASL is not asked for.
func saslMechanism(given map[string]string, encrypted bool) (sasl.Mechanism, error) {
	mechanism, user := given["sasl.mechanism"], given["sasl.user"]
	env, file := given["sasl.password.env"], given["sasl.password.file"]
	if mechanism == "" && user == "" && env == "" && file == "" {
		return nil, nil
	}
	if mechanism == "" || user == "" || (env == "") == (file == "") {
		return nil, errors.New("-X sasl settings are not complete; give sasl.mechanism, sasl.user " +
			"and one of sasl.password.env and sasl.password.file")
	}
	password, err := readPassword(env, file)
	if err != nil {
		return nil, err
	}
	switch mechanism {
	case "PLAIN":
		if !encrypted {
			return nil, errors.New("-X sasl.mechanism=PLAIN shows the password to the network; " +
				"give tls=true as well")
		}
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("-X sasl.mechanism: %q is not known; "+
			"give PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", mechanism)
	}
}

func readPassword(env, file string) (string, error) {
	if env != "" {
		password, ok := os.LookupEnv(env)
		if !ok || password == "" {
			return "", fmt.Errorf("-X sasl.password.env: the environment has no %s; "+
				"set it to the password", env)
		}
		return password, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-X sasl.password.file: %w; give a file that can be read", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("-X sasl.password.file: %s is empty; write the password into it", file)
	}
	return password, nil
}
