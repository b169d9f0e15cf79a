package api

// ClusterStats counts what the cluster holds. Pods that have ended count in no
// figure; CPU is in millicores, memory in MiB.
type ClusterStats struct {
	TotalNodes      int        `json:"totalNodes"`
	HealthyNodes    int        `json:"healthyNodes"`   // online
	UnhealthyNodes  int        `json:"unhealthyNodes"` // suspect, unhealthy or offline
	TotalPods       int        `json:"totalPods"`
	RunningPods     int        `json:"runningPods"`
	PendingPods     int        `json:"pendingPods"`
	TotalCPU        Millicores `json:"totalCpu"` // of the nodes that are not unhealthy
	AllocatedCPU    Millicores `json:"allocatedCpu"`
	TotalMemory     Mebibytes  `json:"totalMemory"`
	AllocatedMemory Mebibytes  `json:"allocatedMemory"`
	NamespaceCount  int        `json:"namespaceCount"`
	PackCount       int        `json:"packCount"` // versions
}

// HealthStatus sums up how the cluster is.
type HealthStatus string

// The health states of a cluster.
const (
	ClusterHealthy  HealthStatus = "healthy"
	ClusterDegraded HealthStatus = "degraded" // fewer than 80 % of the nodes are healthy, or many pods wait
	ClusterCritical HealthStatus = "critical" // fewer than half of the nodes are healthy
)

// Health judges the figures: without nodes a cluster is healthy, since nothing
// is lost; more than one pod waiting for ten that run is degraded.
func (s ClusterStats) Health() HealthStatus {
	healthy := 100
	if s.TotalNodes > 0 {
		healthy = 100 * s.HealthyNodes / s.TotalNodes
	}
	switch {
	case healthy < 50:
		return ClusterCritical
	case healthy < 80 || 10*s.PendingPods > s.RunningPods && s.RunningPods > 0:
		return ClusterDegraded
	default:
		return ClusterHealthy
	}
}
