package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// alike are pods of one request that have nothing but their ids apart: as the replicas of
// something are, which most pods of large requests may be.
type alike struct {
	newPod // its id is nobody's
	ids    []string
}

// serveSQL goes on as the service in the transaction of a user, whose claims stay.
const serveSQL = "select set_config('role', 'service_role', true)"

// copySQL stores the pods of a request that are like one that it has stored before.
const copySQL = "select stark.copy_pods($1::text[]::uuid[], $2::text[]::uuid[], $3)"

// mostKinds bounds the kinds of pods of one request of which one each is read when they are
// stored. The feed would otherwise read all of them, and it need not wait for that.
const mostKinds = 100

// CreatePods stores pods as the user, all of them in one statement or none, and gives
// their ids in the order of the items. The database fills in defaults and checks limits
// and quota; what it refuses is told with the item that it is about. A request with the
// id of one that was made before gives the pods of that one.
func (db *DB) CreatePods(ctx context.Context, id access.Identity, r api.CreatePodsRequest) ([]string, error) {
	d, err := userDoor(id)
	if err != nil {
		return nil, err
	}
	request := orNewID(r.ID)
	ids := make([]string, len(r.Items))
	for i := range r.Items {
		item := &r.Items[i]
		if item.PackID != "" && !api.ValidID(item.PackID) {
			return nil, api.AtItem(itemAt(i), fault.New(fault.NotFound, "pack not found"))
		}
		ids[i] = itemID(request, i)
	}
	kinds, err := kindsOf(r, ids)
	if err != nil {
		return nil, err
	}
	firsts, copies := rowsOf(kinds)
	text, err := json.Marshal(firsts)
	if err != nil {
		return nil, fault.Wrap(err, fault.Validation, "the pods cannot be stored")
	}
	var stored []api.Pod // of each kind the first
	err = db.writeOwn(ctx, "create pods at once", d, func(b *pgx.Batch, _ *pgx.Conn) {
		if len(kinds) <= mostKinds {
			b.Queue(createSQL, string(text)).Query(all(&stored, scanPod))
		} else {
			b.Queue(insertPodsSQL, string(text))
		}
		if len(copies.ids) > 0 {
			b.Queue(serveSQL)
			b.Queue(copySQL, copies.firsts, copies.ids, copies.kinds)
		}
	}, func() { db.own.createdAlike(kinds, stored) })
	// Of a request that was made before all pods are there: they were made together.
	before := r.ID != "" && conflictOn(err, "pods_pkey") != nil
	if err == nil || before {
		return ids, nil
	}
	if refusesRow(err) {
		rows := make([]newPod, len(r.Items))
		for i, item := range r.Items {
			item.ID = ids[i]
			rows[i] = rowFor(item)
		}
		return nil, db.refusedItem(ctx, id, rows, err)
	}
	return nil, err
}

// kindsOf gathers pods that are alike, in the order of the first of each kind.
func kindsOf(r api.CreatePodsRequest, ids []string) ([]*alike, error) {
	var kinds []*alike
	byText := map[string]*alike{}
	var last api.CreatePodRequest
	var at *alike
	for i := range r.Items {
		if r.Repeats(i) {
			at.ids = append(at.ids, ids[i])
			continue
		}
		item := r.Items[i]
		item.ID = ids[0] // of none
		if at == nil || !reflect.DeepEqual(item, last) {
			row := rowFor(item)
			text, err := json.Marshal(row)
			if err != nil {
				return nil, fault.Wrap(err, fault.Validation, "the pods cannot be stored")
			}
			if at = byText[string(text)]; at == nil {
				at = &alike{newPod: row}
				byText[string(text)] = at
				kinds = append(kinds, at)
			}
			last = item
		}
		at.ids = append(at.ids, ids[i])
	}
	return kinds, nil
}

// copies are the pods that are like the first of their kind.
type copies struct {
	firsts, ids []string
	kinds       []int32 // of each id, from 1, as Postgres counts
}

// rowsOf divides pods into the first of each kind and the others.
func rowsOf(kinds []*alike) (firsts []newPod, c copies) {
	for i, k := range kinds {
		first := k.newPod
		first.ID = k.ids[0]
		firsts = append(firsts, first)
		c.firsts = append(c.firsts, first.ID)
		c.ids = append(c.ids, k.ids[1:]...)
		for range k.ids[1:] {
			c.kinds = append(c.kinds, int32(i+1))
		}
	}
	return firsts, c
}

// createdAlike remembers all pods of a request by the first of each kind: what the database
// fills in is the same for pods that are alike and of one transaction.
func (o *ownWrites) createdAlike(kinds []*alike, firsts []api.Pod) {
	first := make(map[string]api.Pod, len(firsts))
	for _, p := range firsts {
		first[p.ID] = p
	}
	var own []ownPod
	for _, k := range kinds {
		p, ok := first[k.ids[0]]
		if !ok {
			return
		}
		own = slices.Grow(own, len(k.ids))
		for _, id := range k.ids {
			p.ID = id
			own = append(own, ownPod{Pod: p})
		}
	}
	o.made(own)
}

func itemAt(i int) string { return "items[" + strconv.Itoa(i) + "]" }

// itemID gives the id of one pod of a request: it begins as that of the request does,
// with the time, so that the pods lie together in the index.
func itemID(request string, i int) string {
	const shared = len("01a21a2b-3e6f-7")
	sum := sha256.Sum256([]byte(request + "/" + strconv.Itoa(i)))
	text := hex.EncodeToString(sum[:])
	return request[:shared] + text[:3] + "-8" + text[3:6] + "-" + text[6:18]
}

// errDry ends a transaction that must leave nothing behind.
var errDry = errors.New("dry run")

// refusedItem finds the first item that the database refuses after those before it: in
// a transaction that stores more and more of them, by halves, and leaves nothing behind.
func (db *DB) refusedItem(ctx context.Context, id access.Identity, rows []newPod, refusal error) error {
	err := db.AsUser(ctx, id, func(tx Tx) error {
		stored, refused := 0, len(rows) // the refused one is at stored or behind it, and before refused
		for refused-stored > 1 {
			middle := (stored + refused) / 2
			switch err := tryPods(ctx, tx, rows[stored:middle]); {
			case err == nil:
				stored = middle
			case refusesRow(toFault("create pods at once", err)):
				refused = middle
			default:
				return err
			}
		}
		if err := tryPods(ctx, tx, rows[stored:refused]); err != nil {
			return api.AtItem(itemAt(stored), toFault("create pods at once", err))
		}
		return errDry // it would be taken by now
	})
	if f, ok := errors.AsType[*fault.Error](err); ok && refusesRow(f) && !errors.Is(err, errDry) {
		return f
	}
	return refusal
}

// tryPods stores rows, and nothing where one of them is refused.
func tryPods(ctx context.Context, tx Tx, rows []newPod) error {
	text, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	tx.Queue("savepoint items")
	if _, err = tx.Exec(ctx, insertPodsSQL, string(text)); err == nil {
		return nil
	}
	if _, back := tx.Exec(ctx, "rollback to savepoint items"); back != nil {
		return fmt.Errorf("%w, and back: %w", err, back)
	}
	return err
}
