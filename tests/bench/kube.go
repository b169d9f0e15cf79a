package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// kubeVersion and etcdVersion are those that tests/bench/kube/go.mod names.
const kubeVersion, etcdVersion = "1.37.2", "3.7.0"

// kubeModule is where Kubernetes is built, from the root of the project.
const kubeModule = "tests/bench/kube"

// kube is a control plane of Kubernetes without a node that runs anything: etcd with
// durable commits, kube-apiserver and kube-scheduler, with the limits of their clients
// lifted.
type kube struct {
	bin, home string
	url       string
	etcdURL   string
	token     string
	tls       *tls.Config

	etcd, api, scheduler *harness.Process

	crowded bool // there are as many bound pods as Stark has in this place
}

// buildKube builds the programs once into the cache.
func (b *bench) buildKube(ctx context.Context) (dir string, err error) {
	dir, err = b.peerCache(fmt.Sprintf("kubernetes-%s-etcd-%s-%s", kubeVersion, etcdVersion, runtime.Version()))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(b.errOut, "building kube-apiserver and kube-scheduler %s and etcd %s from their Go modules into %s: 100 MB to fetch, some five minutes on two cores\n", kubeVersion, etcdVersion, dir)
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "kubernetes-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	const kubernetes = "k8s.io/kubernetes/cmd/"
	for name, from := range map[string]string{
		"kube-apiserver": kubernetes + "kube-apiserver", "kube-scheduler": kubernetes + "kube-scheduler", "etcd": "go.etcd.io/etcd/server/v3",
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(fresh, name), from) //nolint:gosec // the names stand above
		cmd.Dir, cmd.Env = kubeModule, append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build %s: %w\n%s", from, err, out)
		}
	}
	return dir, os.Rename(fresh, dir)
}

// openKube starts a control plane with nothing in it.
func (b *bench) openKube(ctx context.Context) (*kube, error) {
	bin, err := b.buildKube(ctx)
	if err != nil {
		return nil, err
	}
	k := &kube{bin: bin, token: rand.Text()}
	if k.home, err = b.folder("kube"); err != nil {
		return nil, err
	}
	accounts, err := accountsKey()
	if err != nil {
		return k, err
	}
	tokens := k.token + `,bench,bench,"system:masters"` + "\n"
	if err := errors.Join(os.WriteFile(k.file("accounts.key"), accounts, 0o600), os.WriteFile(k.file("tokens.csv"), []byte(tokens), 0o600)); err != nil {
		return k, err
	}
	if err := k.startEtcd(ctx); err != nil {
		return k, err
	}
	port, err := harness.FreePort(ctx)
	if err != nil {
		return k, err
	}
	k.url = fmt.Sprintf("https://127.0.0.1:%d", port)
	if err := k.startAPI(ctx); err != nil {
		return k, err
	}
	return k, k.startScheduler(ctx)
}

// accountsKey is what the server wants for signing tokens of services, which nobody asks for.
func accountsKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

func (k *kube) file(name string) string { return filepath.Join(k.home, name) }

func (k *kube) launch(name string, args ...string) (*harness.Process, error) {
	return harness.Launch(harness.Spec{Name: name, Path: filepath.Join(k.bin, name), Dir: k.home, Args: args})
}

func (k *kube) startEtcd(ctx context.Context) error {
	clients, err := harness.FreePort(ctx)
	if err != nil {
		return err
	}
	peers, err := harness.FreePort(ctx)
	if err != nil {
		return err
	}
	peer := fmt.Sprintf("http://127.0.0.1:%d", peers)
	k.etcdURL = fmt.Sprintf("http://127.0.0.1:%d", clients)
	k.etcd, err = k.launch("etcd", "--data-dir", k.file("etcd"), "--log-level", "error",
		"--listen-client-urls", k.etcdURL, "--advertise-client-urls", k.etcdURL,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	return err
}

// startAPI starts kube-apiserver and waits until it says that it is ready. What it admits
// is left as it is by default, but for what needs controllers that are not there: accounts
// of services, and the taint of a node that no controller has found ready.
func (k *kube) startAPI(ctx context.Context) error {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(k.url, "https://"))
	if err != nil {
		return err
	}
	k.api, err = k.launch("kube-apiserver", "--etcd-servers", k.etcdURL,
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port, "--endpoint-reconciler-type", "none",
		"--cert-dir", k.file("certs"), "--token-auth-file", k.file("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://bench.invalid", "--service-account-key-file", k.file("accounts.key"), "--service-account-signing-key-file", k.file("accounts.key"),
		"--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition", "-v", "0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	for {
		switch err := k.ready(ctx); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("kube-apiserver is not ready: %w\n%s", err, k.api.Output())
		}
		select {
		case <-k.api.Done():
			return fmt.Errorf("kube-apiserver has ended:\n%s", k.api.Output())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ready asks whether the server is ready, once its certificate is there.
func (k *kube) ready(ctx context.Context) error {
	if k.tls == nil {
		cert, err := os.ReadFile(k.file("certs/apiserver.crt"))
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(cert) {
			return errors.New("the certificate of kube-apiserver is none")
		}
		k.tls = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	l, err := k.dial(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	return l.send(http.MethodGet, "/readyz", nil)
}

func (k *kube) startScheduler(ctx context.Context) (err error) {
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bench, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: bench, user: {token: %q}}]
contexts: [{name: bench, context: {cluster: bench, user: bench}}]
current-context: bench
`, k.url, k.file("certs/apiserver.crt"), k.token)
	config := fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
clientConnection: {kubeconfig: %q, qps: 100000, burst: 100000, contentType: application/vnd.kubernetes.protobuf}
`, k.file("kubeconfig"))
	if err := errors.Join(os.WriteFile(k.file("kubeconfig"), []byte(kubeconfig), 0o600), os.WriteFile(k.file("scheduler.yaml"), []byte(config), 0o600)); err != nil {
		return err
	}
	port, err := harness.FreePort(ctx)
	if err != nil {
		return err
	}
	k.scheduler, err = k.launch("kube-scheduler", "--config", k.file("scheduler.yaml"),
		"--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(port), "--cert-dir", k.file("certs"), "-v", "0")
	return err
}

// close ends all of it, also after an interrupt.
func (k *kube) close() {
	if k == nil {
		return
	}
	for _, p := range []*harness.Process{k.scheduler, k.api, k.etcd} {
		if p != nil {
			_ = p.Stop(waitLimit) // which kills one that does not end
		}
	}
}

// dial opens a line to kube-apiserver.
func (k *kube) dial(ctx context.Context) (*line, error) { return dial(ctx, k.url, k.token, k.tls) }

// all sends n requests over so many connections, and fails at the first that fails.
func (k *kube) all(ctx context.Context, n, clients int, next func(i int) (method, path string, body []byte)) error {
	turns := make(chan int)
	errs := make(chan error, clients)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for range clients {
		go func() {
			l, err := k.dial(ctx)
			if err == nil {
				defer l.close()
				for i := range turns {
					if err = l.send(next(i)); err != nil {
						break
					}
				}
			}
			if err != nil {
				stop()
			}
			errs <- err
		}()
	}
	for i := range n {
		select {
		case turns <- i:
		case <-ctx.Done():
		}
	}
	close(turns)
	var failed error
	for range clients {
		if err := <-errs; err != nil && failed == nil {
			failed = err
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}

// memory is what the server and the scheduler hold, in MiB; the database is left out, as
// it is for Stark.
func (k *kube) memory() (api, scheduler, etcd float64, err error) {
	var sizes []float64
	for _, p := range []*harness.Process{k.api, k.scheduler, k.etcd} {
		size, err := residentMemory(p.PID())
		if err != nil {
			return 0, 0, 0, err
		}
		sizes = append(sizes, size)
	}
	return sizes[0], sizes[1], sizes[2], nil
}

// cpu is the time that the server and the scheduler have taken so far, and that of etcd.
func (k *kube) cpu() (control, etcd time.Duration, err error) {
	for _, p := range []*harness.Process{k.api, k.scheduler} {
		took, err := cpuOfProcess(p.PID())
		if err != nil {
			return 0, 0, err
		}
		control += took
	}
	etcd, err = cpuOfProcess(k.etcd.PID())
	return control, etcd, err
}
