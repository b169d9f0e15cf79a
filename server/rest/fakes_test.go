package rest_test

import (
	"context"
	"slices"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// fakeDB answers through its fields; a method whose field is not set fails the
// request, so that a test sees calls that it did not expect.
type fakeDB struct {
	// Tried on the real database alone.
	rest.DrainDatabase
	rest.NamespaceDatabase
	rest.SettingsDatabase

	ping            func(context.Context) error
	profile         func(access.Identity) (api.User, error)
	userRoles       func(userID string) ([]api.Role, bool, error)
	listUsers       func(access.Identity, api.UserQuery) ([]api.User, int, error)
	setRoles        func(userID string, roles []api.Role, by string) error
	getUser         func(access.Identity, string) (api.User, error)
	grantRoles      func(access.Identity, string, []api.Role) (api.User, error)
	revokeRole      func(access.Identity, string, api.Role) (api.User, error)
	setDisabled     func(userID string, disabled bool, by string) (api.User, error)
	setupStatus     func() (api.SetupStatus, error)
	claimFirstAdmin func(userID string) (bool, error)

	openRegistration func() (bool, error)

	createPack   func(access.Identity, api.Pack) (api.Pack, error)
	completePack func(id access.Identity, packID string, b pack.Bundle) (api.Pack, error)
	abandonPack  func(packID string) error
	getPack      func(access.Identity, string) (api.Pack, error)
	listPacks    func(access.Identity, api.PackQuery) (api.Page[api.Pack], error)
	packVersions func(access.Identity, string) ([]api.PackVersion, error)
	updatePack   func(access.Identity, string, api.UpdatePackRequest) (api.Pack, error)
	deletePack   func(access.Identity, string) (string, error)

	createNode    func(access.Identity, api.RegisterNodeRequest) (api.Node, error)
	takeNode      func(id access.Identity, nodeID string) (api.Node, error)
	getNode       func(access.Identity, string) (api.Node, error)
	getNodeByName func(access.Identity, string) (api.Node, error)
	listNodes     func(access.Identity, api.NodeQuery) (api.Page[api.Node], error)
	updateNode    func(access.Identity, string, api.UpdateNodeRequest) (api.Node, error)
	deleteNode    func(access.Identity, string) error

	createPod   func(context.Context, access.Identity, api.CreatePodRequest) (api.Pod, error)
	createPods  func(api.CreatePodsRequest) ([]string, error)
	getPod      func(access.Identity, string) (api.Pod, error)
	listPods    func(access.Identity, api.PodQuery) (api.Page[api.Pod], error)
	stopPod     func(access.Identity, string) (api.Pod, bool, error)
	rollbackPod func(id access.Identity, podID string, r api.RollbackRequest) (api.Rollback, error)
	podHistory  func(id access.Identity, podID string, limit, offset int) ([]api.PodHistoryEntry, error)
	storedLogs  func(podIDs []string, previous bool) (map[string]wire.StoredLogs, error)
	podRuns     func(access.Identity, string) ([]api.Run, error)
	dryRunPod   func(access.Identity, api.CreatePodRequest) (api.Pod, error)
	verdict     func(access.Identity, string) (*api.Verdict, error)

	createJoinToken func(access.Identity, api.CreateJoinTokenRequest) (api.JoinToken, error)
	listJoinTokens  func(access.Identity) ([]api.JoinToken, error)
	revokeJoinToken func(access.Identity, string) error
	credential      func(id access.Identity, what, node string) error
	leaveNode       func(credential, connectionID string) error
	createTicket    func(access.Identity) (api.Ticket, error)

	version string // of the node that is updated or deleted
	writes  fakeWrites
}

// otherVersion is how the database refuses a change of another version.
func (f *fakeDB) otherVersion() error {
	e := fault.New(fault.Conflict, "the node has changed since it was read")
	e.Details = map[string]any{"resourceVersion": f.version}
	return e
}

func unexpected() error { return fault.New(fault.Internal, "the test did not expect this call") }

func (f *fakeDB) Ping(ctx context.Context) error {
	if f.ping == nil {
		return nil
	}
	return f.ping(ctx)
}

func (f *fakeDB) Profile(_ context.Context, id access.Identity) (api.User, error) {
	if f.profile == nil {
		return api.User{}, unexpected()
	}
	return f.profile(id)
}

func (f *fakeDB) UserRoles(_ context.Context, userID string) ([]api.Role, bool, error) {
	if f.userRoles == nil {
		return nil, false, unexpected()
	}
	return f.userRoles(userID)
}

func (f *fakeDB) ListUsers(_ context.Context, id access.Identity, q api.UserQuery) ([]api.User, int, error) {
	if f.listUsers == nil {
		return nil, 0, unexpected()
	}
	return f.listUsers(id, q)
}

func (f *fakeDB) SetRoles(_ context.Context, by access.Identity, userID string, roles []api.Role) error {
	if f.setRoles == nil {
		return unexpected()
	}
	return f.setRoles(userID, roles, by.UserID)
}

func (f *fakeDB) GetUser(_ context.Context, id access.Identity, userID string) (api.User, error) {
	if f.getUser == nil {
		return api.User{}, unexpected()
	}
	return f.getUser(id, userID)
}

func (f *fakeDB) GrantRoles(_ context.Context, id access.Identity, userID string, roles []api.Role) (api.User, error) {
	if f.grantRoles == nil {
		return api.User{}, unexpected()
	}
	return f.grantRoles(id, userID, roles)
}

func (f *fakeDB) RevokeRole(_ context.Context, id access.Identity, userID string, role api.Role) (api.User, error) {
	if f.revokeRole == nil {
		return api.User{}, unexpected()
	}
	return f.revokeRole(id, userID, role)
}

func (f *fakeDB) SetDisabled(_ context.Context, userID string, disabled bool, by string) (api.User, error) {
	if f.setDisabled == nil {
		return api.User{}, unexpected()
	}
	return f.setDisabled(userID, disabled, by)
}

// OpenRegistration is open unless a test says otherwise.
func (f *fakeDB) OpenRegistration(context.Context) (bool, error) {
	if f.openRegistration == nil {
		return true, nil
	}
	return f.openRegistration()
}

func (f *fakeDB) SetupStatus(context.Context) (api.SetupStatus, error) {
	if f.setupStatus == nil {
		return api.SetupStatus{}, unexpected()
	}
	return f.setupStatus()
}

func (f *fakeDB) ClaimFirstAdmin(_ context.Context, userID string) (bool, error) {
	if f.claimFirstAdmin == nil {
		return false, unexpected()
	}
	return f.claimFirstAdmin(userID)
}

func (f *fakeDB) CreatePack(_ context.Context, id access.Identity, p api.Pack) (api.Pack, error) {
	if f.createPack == nil {
		return api.Pack{}, unexpected()
	}
	return f.createPack(id, p)
}

func (f *fakeDB) BundleObject(_ context.Context, _ access.Identity, path string) (string, error) {
	return "object of " + path, nil
}

func (f *fakeDB) CompletePack(_ context.Context, id access.Identity, packID string, b pack.Bundle) (api.Pack, error) {
	if f.completePack == nil {
		return api.Pack{}, unexpected()
	}
	return f.completePack(id, packID, b)
}

func (f *fakeDB) AbandonPack(_ context.Context, _ access.Identity, packID string) error {
	if f.abandonPack == nil {
		return unexpected()
	}
	return f.abandonPack(packID)
}

func (f *fakeDB) GetPack(_ context.Context, id access.Identity, packID string) (api.Pack, error) {
	if f.getPack == nil {
		return api.Pack{}, unexpected()
	}
	return f.getPack(id, packID)
}

func (f *fakeDB) ListPacks(_ context.Context, id access.Identity, q api.PackQuery) (api.Page[api.Pack], error) {
	if f.listPacks == nil {
		return api.Page[api.Pack]{}, unexpected()
	}
	return f.listPacks(id, q)
}

func (f *fakeDB) PackVersions(_ context.Context, id access.Identity, name string) ([]api.PackVersion, error) {
	if f.packVersions == nil {
		return nil, unexpected()
	}
	return f.packVersions(id, name)
}

func (f *fakeDB) UpdatePack(_ context.Context, id access.Identity, packID string, r api.UpdatePackRequest) (api.Pack, error) {
	if f.updatePack == nil {
		return api.Pack{}, unexpected()
	}
	return f.updatePack(id, packID, r)
}

func (f *fakeDB) DeletePack(_ context.Context, id access.Identity, packID string) (string, error) {
	if f.deletePack == nil {
		return "", unexpected()
	}
	return f.deletePack(id, packID)
}

func (f *fakeDB) CreateNode(_ context.Context, id access.Identity, r api.RegisterNodeRequest) (api.Node, error) {
	if f.createNode == nil {
		return api.Node{}, unexpected()
	}
	return f.createNode(id, r)
}

func (f *fakeDB) GetNode(_ context.Context, id access.Identity, nodeID string) (api.Node, error) {
	if f.getNode == nil {
		return api.Node{}, unexpected()
	}
	return f.getNode(id, nodeID)
}

func (f *fakeDB) GetNodeByName(_ context.Context, id access.Identity, name string) (api.Node, error) {
	if f.getNodeByName == nil {
		return api.Node{}, unexpected()
	}
	return f.getNodeByName(id, name)
}

func (f *fakeDB) ListNodes(_ context.Context, id access.Identity, q api.NodeQuery) (api.Page[api.Node], error) {
	if f.listNodes == nil {
		return api.Page[api.Node]{}, unexpected()
	}
	return f.listNodes(id, q)
}

func (f *fakeDB) UpdateNode(ctx context.Context, id access.Identity, nodeID string, r api.UpdateNodeRequest) (api.Node, error) {
	if f.updateNode == nil {
		return api.Node{}, unexpected()
	}
	if v := access.Expected(ctx); len(v) > 0 && !slices.Contains(v, f.version) {
		return api.Node{}, f.otherVersion()
	}
	return f.updateNode(id, nodeID, r)
}

func (f *fakeDB) DeleteNode(ctx context.Context, id access.Identity, nodeID string) error {
	if f.deleteNode == nil {
		return unexpected()
	}
	if v := access.Expected(ctx); len(v) > 0 && !slices.Contains(v, f.version) {
		return f.otherVersion()
	}
	return f.deleteNode(id, nodeID)
}

func (f *fakeDB) CreatePod(ctx context.Context, id access.Identity, r api.CreatePodRequest) (api.Pod, error) {
	if f.createPod == nil {
		return api.Pod{}, unexpected()
	}
	return f.createPod(ctx, id, r)
}

func (f *fakeDB) CreatePods(_ context.Context, _ access.Identity, r api.CreatePodsRequest) ([]string, error) {
	if f.createPods == nil {
		return nil, unexpected()
	}
	return f.createPods(r)
}

func (f *fakeDB) GetPod(_ context.Context, id access.Identity, podID string) (api.Pod, error) {
	if f.getPod == nil {
		return api.Pod{}, unexpected()
	}
	return f.getPod(id, podID)
}

func (f *fakeDB) ListPods(_ context.Context, id access.Identity, q api.PodQuery) (api.Page[api.Pod], error) {
	if f.listPods == nil {
		return api.Page[api.Pod]{}, unexpected()
	}
	return f.listPods(id, q)
}

func (f *fakeDB) UpdatePod(context.Context, access.Identity, string, api.UpdatePodRequest) (api.Pod, error) {
	return api.Pod{}, unexpected() // tried on the real database
}

func (f *fakeDB) StopPod(_ context.Context, id access.Identity, podID string) (api.Pod, bool, error) {
	if f.stopPod == nil {
		return api.Pod{}, false, unexpected()
	}
	return f.stopPod(id, podID)
}

func (f *fakeDB) ForceStopPod(context.Context, access.Identity, string) (api.Pod, bool, error) {
	return api.Pod{}, false, unexpected() // tried on the real database
}

func (f *fakeDB) PodHistory(_ context.Context, id access.Identity, podID string, limit, offset int) ([]api.PodHistoryEntry, error) {
	if f.podHistory == nil {
		return nil, unexpected()
	}
	return f.podHistory(id, podID, limit, offset)
}

func (f *fakeDB) PodRuns(_ context.Context, id access.Identity, podID string) ([]api.Run, error) {
	if f.podRuns == nil {
		return nil, unexpected()
	}
	return f.podRuns(id, podID)
}

func (f *fakeDB) StoredLogs(_ context.Context, podIDs []string, previous bool) (map[string]wire.StoredLogs, error) {
	if f.storedLogs == nil {
		return nil, nil
	}
	return f.storedLogs(podIDs, previous)
}

func (f *fakeDB) GetPods(ctx context.Context, id access.Identity, podIDs []string) (map[string]api.Pod, error) {
	found := map[string]api.Pod{}
	for _, podID := range podIDs {
		switch p, err := f.GetPod(ctx, id, podID); fault.CodeOf(err) {
		case "":
			found[podID] = p
		case fault.NotFound:
		default:
			return nil, err
		}
	}
	return found, nil
}

func (f *fakeDB) PodStatus(ctx context.Context, id access.Identity, podID string) (api.Pod, *api.Figures, error) {
	p, err := f.GetPod(ctx, id, podID)
	return p, &api.Figures{CPU: new(api.Millicores(5)), Memory: new(api.Mebibytes(6)), LoopDelayMS: 7, At: someTime()}, err
}

func (f *fakeDB) RollbackPod(_ context.Context, id access.Identity, podID string, r api.RollbackRequest) (api.Rollback, error) {
	if f.rollbackPod == nil {
		return api.Rollback{}, unexpected()
	}
	return f.rollbackPod(id, podID, r)
}

func (f *fakeDB) DryRunPod(_ context.Context, id access.Identity, r api.CreatePodRequest) (api.Pod, error) {
	if f.dryRunPod == nil {
		return api.Pod{}, unexpected()
	}
	return f.dryRunPod(id, r)
}

func (f *fakeDB) Verdict(_ context.Context, id access.Identity, podID string) (*api.Verdict, error) {
	if f.verdict == nil {
		return nil, unexpected()
	}
	return f.verdict(id, podID)
}

func (f *fakeDB) CreateJoinToken(_ context.Context, id access.Identity, r api.CreateJoinTokenRequest) (api.JoinToken, error) {
	if f.createJoinToken == nil {
		return api.JoinToken{}, unexpected()
	}
	return f.createJoinToken(id, r)
}

func (f *fakeDB) ListJoinTokens(_ context.Context, id access.Identity) ([]api.JoinToken, error) {
	if f.listJoinTokens == nil {
		return nil, unexpected()
	}
	return f.listJoinTokens(id)
}

func (f *fakeDB) RevokeJoinToken(_ context.Context, id access.Identity, tokenID string) error {
	if f.revokeJoinToken == nil {
		return unexpected()
	}
	return f.revokeJoinToken(id, tokenID)
}

func (f *fakeDB) TakeNode(_ context.Context, id access.Identity, nodeID string) (api.Node, error) {
	if f.takeNode == nil {
		return api.Node{}, unexpected()
	}
	return f.takeNode(id, nodeID)
}

func (f *fakeDB) RotateCredential(_ context.Context, id access.Identity, nodeID string) error {
	if f.credential == nil {
		return unexpected()
	}
	return f.credential(id, "rotate", nodeID)
}

func (f *fakeDB) RevokeCredentials(_ context.Context, id access.Identity, nodeID string) error {
	if f.credential == nil {
		return unexpected()
	}
	return f.credential(id, "revoke", nodeID)
}

func (f *fakeDB) CreateTicket(_ context.Context, id access.Identity) (api.Ticket, error) {
	if f.createTicket == nil {
		return api.Ticket{}, unexpected()
	}
	return f.createTicket(id)
}

func (f *fakeDB) LeaveNode(_ context.Context, credential, connectionID string) error {
	if f.leaveNode == nil {
		return unexpected()
	}
	return f.leaveNode(credential, connectionID)
}
