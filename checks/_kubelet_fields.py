"""Fields of the kubelet's configuration: types, defaults, and the flags that set them.

https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
Compared with the sources of Kubernetes 1.20 to 1.37: pkg/kubelet/apis/config/v1beta1/defaults.go and
cmd/kubelet/app/options/options.go.
"""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple


class ConfigField(NamedTuple):
    """A field: its type, its default, and the flag that sets it.

    The types are boolean, integer, fraction, text, path, duration, list, map, taints. `default` is empty if the field
    has none, and `?` if the kubelet selects a value when it starts.
    """

    kind: str
    default: str
    before: str  # The default of releases before `since`.
    since: int  # The minor version of Kubernetes that changed the default; 0 for none.
    flag: str


# ConfigField, type, default, flag. `50@27:5` is a default of 50 since Kubernetes 1.27, and 5 before.
_TABLE = """
enableServer boolean true enable-server
staticPodPath path - pod-manifest-path
podLogsDir text /var/log/pods -
syncFrequency duration 1m sync-frequency
fileCheckFrequency duration 20s file-check-frequency
httpCheckFrequency duration 20s http-check-frequency
address text 0.0.0.0 address
port integer 10250 port
readOnlyPort integer 0 read-only-port
tlsCertFile path - tls-cert-file
tlsPrivateKeyFile path - tls-private-key-file
tlsCipherSuites list - tls-cipher-suites
tlsCurvePreferences list - -
tlsMinVersion text - tls-min-version
rotateCertificates boolean false rotate-certificates
serverTLSBootstrap boolean false rotate-server-certificates
authentication.x509.clientCAFile path - client-ca-file
authentication.webhook.enabled boolean true authentication-token-webhook
authentication.webhook.cacheTTL duration 2m authentication-token-webhook-cache-ttl
authentication.anonymous.enabled boolean false anonymous-auth
authorization.mode text Webhook authorization-mode
authorization.webhook.cacheAuthorizedTTL duration 5m authorization-webhook-cache-authorized-ttl
authorization.webhook.cacheUnauthorizedTTL duration 30s authorization-webhook-cache-unauthorized-ttl
registryPullQPS integer 5 registry-qps
registryBurst integer 10 registry-burst
imagePullCredentialsVerificationPolicy text ? -
preloadedImagesVerificationAllowlist list - -
eventRecordQPS integer 50@27:5 event-qps
eventBurst integer 100@27:10 event-burst
enableDebuggingHandlers boolean true enable-debugging-handlers
enableContentionProfiling boolean false contention-profiling
healthzPort integer 10248 healthz-port
healthzBindAddress text 127.0.0.1 healthz-bind-address
oomScoreAdj integer -999 oom-score-adj
clusterDomain text - cluster-domain
clusterDNS list - cluster-dns
streamingConnectionIdleTimeout duration 240m streaming-connection-idle-timeout
nodeStatusUpdateFrequency duration 10s node-status-update-frequency
nodeStatusReportFrequency duration ? -
nodeLeaseDurationSeconds integer 40 -
imageMinimumGCAge duration 2m minimum-image-ttl-duration
imageMaximumGCAge duration 0s -
imageGCHighThresholdPercent integer 85 image-gc-high-threshold
imageGCLowThresholdPercent integer 80 image-gc-low-threshold
volumeStatsAggPeriod duration 1m volume-stats-agg-period
kubeletCgroups text - kubelet-cgroups
systemCgroups text - system-cgroups
cgroupRoot text - cgroup-root
cgroupsPerQOS boolean true cgroups-per-qos
cgroupDriver text cgroupfs cgroup-driver
cpuManagerPolicy text none cpu-manager-policy
singleProcessOOMKill boolean ? -
cpuManagerPolicyOptions map - cpu-manager-policy-options
cpuManagerReconcilePeriod duration 10s cpu-manager-reconcile-period
memoryManagerPolicy text None memory-manager-policy
topologyManagerPolicy text none topology-manager-policy
topologyManagerScope text container topology-manager-scope
topologyManagerPolicyOptions map - topology-manager-policy-options
qosReserved map - qos-reserved
runtimeRequestTimeout duration 2m runtime-request-timeout
hairpinMode text promiscuous-bridge hairpin-mode
maxPods integer 110 max-pods
podCIDR text - pod-cidr
podPidsLimit integer -1 pod-max-pids
resolvConf path /etc/resolv.conf resolv-conf
runOnce boolean false runonce
cpuCFSQuota boolean true cpu-cfs-quota
cpuCFSQuotaPeriod duration 100ms cpu-cfs-quota-period
nodeStatusMaxImages integer 50 node-status-max-images
maxOpenFiles integer 1000000 max-open-files
contentType text application/vnd.kubernetes.protobuf kube-api-content-type
kubeAPIQPS integer 50@27:5 kube-api-qps
kubeAPIBurst integer 100@27:10 kube-api-burst
serializeImagePulls boolean ? serialize-image-pulls
maxParallelImagePulls integer - -
evictionHard map - eviction-hard
evictionSoft map - eviction-soft
evictionSoftGracePeriod map - eviction-soft-grace-period
evictionPressureTransitionPeriod duration 5m eviction-pressure-transition-period
evictionMaxPodGracePeriod integer 0 eviction-max-pod-grace-period
evictionMinimumReclaim map - eviction-minimum-reclaim
mergeDefaultEvictionSettings boolean false -
podsPerCore integer 0 pods-per-core
enableControllerAttachDetach boolean true enable-controller-attach-detach
protectKernelDefaults boolean false protect-kernel-defaults
makeIPTablesUtilChains boolean true make-iptables-util-chains
iptablesMasqueradeBit integer 14 iptables-masquerade-bit
iptablesDropBit integer 15 iptables-drop-bit
featureGates map - feature-gates
failSwapOn boolean true fail-swap-on
memorySwap.swapBehavior text NoSwap@30:? -
containerLogMaxSize text 10Mi container-log-max-size
containerLogMaxFiles integer 5 container-log-max-files
containerLogMaxWorkers integer 1 -
containerLogMonitorInterval duration 10s -
configMapAndSecretChangeDetectionStrategy text Watch -
systemReserved map - system-reserved
kubeReserved map - kube-reserved
reservedSystemCPUs text - reserved-cpus
showHiddenMetricsForVersion text - -
systemReservedCgroup text - system-reserved-cgroup
kubeReservedCgroup text - kube-reserved-cgroup
enforceNodeAllocatable list pods enforce-node-allocatable
allowedUnsafeSysctls list - allowed-unsafe-sysctls
defaultPodSysctls map - -
volumePluginDir text /usr/libexec/kubernetes/kubelet-plugins/volume/exec/ volume-plugin-dir
providerID text - provider-id
kernelMemcgNotification boolean false kernel-memcg-notification
logging.format text text -
logging.verbosity integer 0 v
enableSystemLogHandler boolean true -
enableSystemLogQuery boolean false -
shutdownGracePeriod duration 0s -
shutdownGracePeriodCriticalPods duration 0s -
crashLoopBackOff.maxContainerRestartPeriod duration ? -
enableProfilingHandler boolean true -
enableDebugFlagsHandler boolean true -
seccompDefault boolean false seccomp-default
memoryThrottlingFactor fraction ?@37:0.9 -
memoryReservationPolicy text ? -
registerWithTaints taints - register-with-taints
registerNode boolean true register-node
tracing.endpoint text - -
tracing.samplingRatePerMillion integer - -
localStorageCapacityIsolation boolean true local-storage-capacity-isolation
containerRuntimeEndpoint text unix:///run/containerd/containerd.sock@27:? container-runtime-endpoint
imageServiceEndpoint text - image-service-endpoint
failCgroupV1 boolean true@35:false fail-cgroupv1
userNamespaces.idsPerPod integer 65536 -
"""
# Fields whose zero counts. In others the kubelet replaces zero and an empty text by the default; kubeadm writes `0s`.
NULLABLE = frozenset(
    [
        "containerLogMaxFiles",
        "containerLogMaxWorkers",
        "containerLogMonitorInterval",
        "cpuCFSQuotaPeriod",
        "crashLoopBackOff.maxContainerRestartPeriod",
        "eventRecordQPS",
        "healthzPort",
        "imageGCHighThresholdPercent",
        "imageGCLowThresholdPercent",
        "iptablesDropBit",
        "iptablesMasqueradeBit",
        "kubeAPIQPS",
        "maxParallelImagePulls",
        "nodeStatusMaxImages",
        "oomScoreAdj",
        "podPidsLimit",
        "registryPullQPS",
        "resolvConf",
        "tracing.samplingRatePerMillion",
        "userNamespaces.idsPerPod",
    ]
)
# Without a configuration file the defaults of flags count: applyLegacyDefaults in options.go.
FLAG_DEFAULTS = {
    "authentication.anonymous.enabled": "true",
    "authentication.webhook.enabled": "false",
    "authorization.mode": "AlwaysAllow",
    "readOnlyPort": "10255",
}
# The thresholds of a kubelet whose `evictionHard` is not set; if it is set, these no longer count.
EVICTION_DEFAULTS = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
_SECONDS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:h|ms|us|µs|ns|m|s))+", re.ASCII)
_PART = re.compile(r"(\d+)(?:\.(\d+))?(h|ms|us|µs|ns|m|s)", re.ASCII)


def load_fields() -> Dict[str, ConfigField]:
    """Return the fields by their path, such as `authentication.anonymous.enabled`."""
    if not _FIELDS:
        for line in _TABLE.split("\n"):
            if line:
                name, kind, default, flag = line.split(" ")
                now, _, earlier = default.rpartition("@") if "@" in default else (default, "", "")
                since, _, before = earlier.partition(":")
                values = ["" if text == "-" else text for text in (now, before, flag)]
                _FIELDS[name] = ConfigField(kind, values[0], values[1], int(since or "0"), values[2])
    return _FIELDS


_FIELDS: Dict[str, ConfigField] = {}


def split_key(key: str) -> Optional[Tuple[str, str]]:
    """Return the field and the name of a map's entry; None for an unknown field.

    `evictionHard.memory.available` is `evictionHard` and `memory.available`.
    """
    field = load_fields().get(key)
    if field and field.kind != "map":
        return key, ""
    name, dot, entry = key.partition(".")
    field = load_fields().get(name)
    return (name, entry) if dot and entry and field and field.kind == "map" else None


def parse_field_key(text: str) -> str:
    """Validate a field as a spec names it; ValueError for a field that does not exist."""
    from nodespec.errors import suggest_name  # noqa: PLC0415

    if split_key(text):
        return text
    field = load_fields().get(text)
    if field:
        raise ValueError(f"`{text}` has several entries; name one, as `{text}.NAME`")
    raise ValueError(f"`{text}` is not a field of the kubelet's configuration{suggest_name(text, load_fields())}")


def parse_duration(text: str) -> int:
    """Return the nanoseconds of a duration such as `1h30m` or `0`; ValueError for other text."""
    if text == "0":
        return 0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"`{text[:40]}` is not a duration such as 4h or 30s")
    total = 0
    for whole, part, unit in _PART.findall(text):
        total += int(whole) * _SECONDS[unit] + int((part or "0").ljust(9, "0")) * _SECONDS[unit] // 10**9
    return total


def format_duration(nanoseconds: int) -> str:
    """Return a duration in one unit: whole minutes, seconds or milliseconds, else nanoseconds.

    Hours are minutes, because `60m` in a spec may also be a quantity of processor time.
    """
    if not nanoseconds:
        return "0s"
    for unit in ("m", "s", "ms"):
        if nanoseconds % _SECONDS[unit] == 0:
            return f"{nanoseconds // _SECONDS[unit]}{unit}"
    return f"{nanoseconds}ns"


def normalize_text(text: str) -> str:
    """Return the one spelling of a duration; other text is unchanged."""
    return format_duration(parse_duration(text)) if _DURATION.fullmatch(text) else text
