package rest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// explainPod asks the database whether the caller may see the pod, and the read model
// what the scheduler thinks of it now. Where the read model does not have the pod, the
// stored verdict must do.
func (s *server) explainPod(ctx context.Context, who caller, in *IDInput) (api.Explanation, error) {
	id, err := in.uuid()
	if err != nil {
		return api.Explanation{}, err
	}
	stored, err := s.DB.Verdict(ctx, who.Identity, id)
	if err != nil {
		return api.Explanation{}, err
	}
	pod, known := s.Store.Pods.Snapshot().Get(id)
	switch {
	case !known:
		return api.Explanation{PodID: id, Verdict: stored}, nil
	case pod.Status.Terminal():
		return api.Explanation{PodID: id}, nil
	}
	return s.explain(who, pod), nil
}

// explain is the scheduler's view of a pod, without the pods of others that the
// caller may not see: those are told by number only.
func (s *server) explain(who caller, p api.Pod) api.Explanation {
	e := scheduler.Explain(scheduler.FromStore(s.Store), p, time.Now())
	sees := s.seesPod(who)
	e.Victims = slices.DeleteFunc(e.Victims, func(v api.Victim) bool {
		pod, ok := s.Store.Pods.Snapshot().Get(v.PodID)
		return !ok || !sees(pod)
	})
	return e
}

// dryRun tells what would become of a pod. A quota that is used up is an answer, not
// a failure: the pod would fit into the cluster another time.
func (s *server) dryRun(ctx context.Context, who caller, req api.CreatePodRequest) (createdPod, error) {
	pod, err := s.DB.DryRunPod(ctx, who.Identity, req)
	switch {
	case fault.CodeOf(err) == fault.QuotaExceeded:
		v := &api.Verdict{
			Reason: api.ReasonWaitingForQuota, Message: quotaMessage(err), PlanTime: time.Now(),
			Change: "wait until pods of the namespace have ended, or raise its quota",
		}
		return createdPod{DryRun: true, Explanation: &api.Explanation{Verdict: v}}, nil
	case err != nil:
		return createdPod{}, err
	}
	e := s.explain(who, pod)
	completePod(&pod)
	return createdPod{Pod: &pod, DryRun: true, Explanation: &e}, nil
}

func quotaMessage(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}
