package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// home is the user's folder: settings and credentials.
type home string

// findHome gives STARK_HOME, or .stark in the user's home folder. Nothing is made.
func findHome(getenv func(string) string) (home, error) {
	if dir := getenv("STARK_HOME"); dir != "" {
		abs, err := filepath.Abs(dir)
		return home(abs), err
	}
	dir := getenv("HOME")
	if dir == "" {
		dir = getenv("USERPROFILE")
	}
	if dir == "" {
		return "", errors.New("neither STARK_HOME nor HOME is set: there is no place for credentials")
	}
	return home(filepath.Join(dir, ".stark")), nil
}

func (h home) path(name string) string { return filepath.Join(string(h), name) }

// make makes the folder for its owner alone, also where it existed before.
func (h home) make() error {
	const ownerOnly = 0o700
	if err := os.MkdirAll(string(h), ownerOnly); err != nil {
		return fmt.Errorf("make the user's folder: %w", err)
	}
	info, err := os.Stat(string(h))
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(string(h), ownerOnly)
	}
	return nil
}

// damagedHint says how to go on without a file.
var damagedHint = map[string]string{
	credentialsFile: "remove it, and sign in again with `stark auth login`",
	settingsFile:    "remove it: the settings are then as at first",
}

// maxHomeFile bounds the files of the folder, in bytes.
const maxHomeFile = 1 << 20

// read reads a JSON file of the folder; an absent one leaves v as it is.
func (h home) read(name string, v any) error {
	info, err := os.Stat(h.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() > maxHomeFile {
		return fmt.Errorf("%s is larger than %d bytes", h.path(name), maxHomeFile)
	}
	data, err := os.ReadFile(h.path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return withHint(fmt.Errorf("%s is damaged: %w", h.path(name), err), "%s", damagedHint[name])
	}
	return nil
}

// write replaces a file of the folder in one step: readers see the old content or
// the new one, also after a crash.
func (h home) write(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := h.make(); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(h), "."+name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", h.path(name), err)
	}
	return os.Rename(f.Name(), h.path(name))
}

// settings is what the user has chosen once and for all.
type settings struct {
	APIURL           string `json:"apiUrl,omitempty"`
	DefaultNamespace string `json:"defaultNamespace,omitempty"`
	Output           string `json:"output,omitempty"`
}

const settingsFile = "config.json"

func (h home) loadSettings() (settings, error) {
	var s settings
	err := h.read(settingsFile, &s)
	return s, err
}
