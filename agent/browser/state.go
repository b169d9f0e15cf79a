//go:build js

package browser

import (
	"context"
	"fmt"
	"syscall/js"
)

// State keeps the agent's memory in IndexedDB. It implements agent.State.
type State struct{}

// Get implements agent.State.
func (State) Get(ctx context.Context, key string) ([]byte, error) {
	v, err := call(ctx, "get", key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	if v.Type() != js.TypeString {
		return nil, nil
	}
	return []byte(v.String()), nil
}

// Put implements agent.State. The values of the agent are JSON, so they are kept as text.
func (State) Put(ctx context.Context, key string, value []byte) error {
	if _, err := call(ctx, "put", key, string(value)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Delete implements agent.State.
func (State) Delete(ctx context.Context, key string) error {
	if _, err := call(ctx, "delete", key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Keys implements agent.State.
func (State) Keys(ctx context.Context, prefix string) ([]string, error) {
	v, err := call(ctx, "keys", prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	keys := make([]string, v.Length())
	for i := range keys {
		keys[i] = v.Index(i).String()
	}
	return keys, nil
}
