package postgres

import (
	"context"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// ForceStopPod is StopPod without waiting for the pod's node: the pod has stopped, its
// runs are lost, and its room is free. It does not run again, so that what its node may go
// on running is never there twice; reports of it are refused from now on, and the wanted
// set, which it leaves, has the node end it. Who may stop a pod may do this. One that has
// ended already is purged.
func (db *DB) ForceStopPod(ctx context.Context, id access.Identity, podID string) (pod api.Pod, purged bool, err error) {
	if err := checkID(podID, "pod"); err != nil {
		return pod, false, err
	}
	d, err := userDoor(id)
	if err != nil {
		return pod, false, err
	}
	err = db.transaction(ctx, "end pod by force", d, func(t Tx) error {
		if expected := access.Expected(ctx); len(expected) > 0 {
			if err := checkVersion(ctx, t, kindPod, podID, expected); err != nil {
				return err
			}
		}
		var s stopOutcome
		s.queue(t, podID)
		if _, err := t.Exec(ctx, serveSQL); err != nil {
			return err
		}
		var err error
		if pod, purged, err = s.result(); err != nil || purged || pod.Status.Terminal() {
			return err
		}
		forceEnd(t, &pod)
		return nil
	})
	return pod, purged, err
}

// forcedMessage is what a pod says that was ended by force.
const forcedMessage = "ended without the word of its node: what ran there may have gone on for a while"

// forceEnd ends a pod that this transaction has told to stop as its user, and therefore
// holds. The history still names the user.
func forceEnd(t Tx, pod *api.Pod) {
	t.Queue(`update public.pod_runs r set status = 'lost', finished_at = now(), termination = `+
		lostRecordSQL(api.ReasonStopForced, "the pod was ended by force: how the run ended is not known")+`
		where r.pod_id = $1 and r.status not in ('exited', 'lost')`, pod.ID)
	t.Queue(`update public.pods p set status = 'stopped', reason = $2, status_message = $3,
			last_termination = coalesce((select r.termination from public.pod_runs r where r.pod_id = p.id and r.incarnation = p.incarnation
				and r.status = 'lost' order by r.attempt desc limit 1), p.last_termination)
		where p.id = $1 returning `+podColumns, pod.ID, api.ReasonStopForced, forcedMessage).Query(one(pod, scanPod))
}
