"""The flags of the verbs as text; :mod:`tui.cli.verbs` says how to read them."""

from __future__ import annotations

CREATE_FLAGS = """\
add-host list Add a custom host-to-IP mapping (host:ip)
annotation list Add an annotation to the container
attach,a list Attach to STDIN, STDOUT or STDERR
blkio-weight int Block IO (relative weight)
blkio-weight-device list! Block IO weight (relative device weight)
cap-add list Add Linux capabilities
cap-drop list Drop Linux capabilities
cgroup-parent string! Optional parent cgroup for the container
cgroupns string Cgroup namespace to use
cidfile string Write the container ID to the file
cpu-count int! -
cpu-percent int! -
cpu-period int Limit CPU CFS (Completely Fair Scheduler) period
cpu-quota int Limit CPU CFS (Completely Fair Scheduler) quota
cpu-rt-period int! Limit CPU real-time period in microseconds
cpu-rt-runtime int! Limit CPU real-time runtime in microseconds
cpu-shares,c int CPU shares (relative weight)
cpus decimal Number of CPUs
cpuset-cpus string CPUs in which to allow execution (0-3, 0,1)
cpuset-mems string MEMs in which to allow execution (0-3, 0,1)
device list Add a host device to the container
device-cgroup-rule list Add a rule to the cgroup allowed devices list
device-read-bps list Limit read rate from a device
device-read-iops list Limit read rate (IO per second) from a device
device-write-bps list Limit write rate to a device
device-write-iops list Limit write rate (IO per second) to a device
disable-content-trust bool=true! -
dns list Set custom DNS servers
dns-opt list=dns-option -
dns-option list Set DNS options
dns-search list Set custom DNS search domains
domainname string Container NIS domain name
entrypoint string Overwrite the default ENTRYPOINT of the image
env,e list Set environment variables
env-file list Read in a file of environment variables
expose list Expose a port or a range of ports
gpus string! GPU devices to add to the container
group-add list Add additional groups to join
health-cmd string Command to run to check health
health-interval string Time between running the check
health-retries int Consecutive failures needed to report unhealthy
health-start-interval string Time between running the check during the start period
health-start-period string Start period before counting retries
health-timeout string Maximum time to allow one check to run
hostname,h string Container host name
init bool Run an init inside the container that forwards signals and reaps processes
interactive,i bool Keep STDIN open even if not attached
io-maxbandwidth string! -
io-maxiops int! -
ip string IPv4 address
ip6 string IPv6 address
ipc string IPC mode to use
isolation string! Container isolation technology
kernel-memory bytes! Kernel memory limit
label,l list Set meta data on a container
label-file list Read in a line delimited file of labels
link list Add link to another container
link-local-ip list Container link-local addresses
log-driver string Logging driver for the container
log-opt list Log driver options: max-size, max-file
mac-address string Container MAC address
memory,m bytes Memory limit
memory-reservation bytes Memory soft limit
memory-swap bytes Swap limit equal to memory plus swap: '-1' to enable unlimited swap
memory-swappiness int Tune container memory swappiness (0 to 100)
mount list Attach a filesystem mount to the container
name string Assign a name to the container
net list=network -
net-alias list=network-alias -
network list Connect a container to a network: NAME, name=NAME,ip=…,alias=…, none, host, container:NAME
network-alias list Add network-scoped alias for the container
no-healthcheck bool Disable any container-specified HEALTHCHECK
oom-kill-disable bool Disable OOM Killer
oom-score-adj int Tune host's OOM preferences (-1000 to 1000)
pid string PID namespace to use
pids-limit int Tune container pids limit (set -1 for unlimited)
platform string Refuse an image of another platform
privileged bool Give extended privileges to this container
publish,p list Publish a container's port(s) to the host: [[IP:]HOST:]PORT[/PROTOCOL]
publish-all,P bool Publish all exposed ports to random ports
pull string=missing Pull image before running ("always", "missing", "never")
quiet,q bool Suppress the pull output
read-only bool Mount the container's root filesystem as read only
restart string=no Restart policy to apply when a container exits: no, on-failure[:n], always, unless-stopped
restart-unhealthy bool Restart the container when it becomes unhealthy, within its restart policy
rm bool Automatically remove the container when it exits
runtime string! Runtime to use for this container
security-opt list Security options: no-new-privileges, seccomp=FILE, seccomp=unconfined
shm-size bytes Size of /dev/shm
stop-signal string Signal to stop the container
stop-timeout int Timeout (in seconds) to stop a container
storage-opt list! Storage driver options for the container
sysctl list Sysctl options
tmpfs list Mount a tmpfs directory
tty,t bool Allocate a pseudo-TTY
ulimit list Ulimit options
use-api-socket bool! Bind mount the API's socket
user,u string Username or UID (format: <name|uid>[:<group|gid>])
userns string User namespace to use
uts string UTS namespace to use
volume,v list Bind mount a path or a volume: SOURCE:TARGET[:ro]
volume-driver string Optional volume driver for the container: only local
volumes-from list Mount volumes from the specified container(s)
workdir,w string Working directory inside the container
"""
RUN_FLAGS = (
    CREATE_FLAGS
    + """\
detach,d bool Run container in background and print container ID
detach-keys string Override the key sequence for detaching a container
sig-proxy bool=true Proxy received signals to the process
"""
)
FORMAT = "Format output using a custom template: table, 'table TEMPLATE', json or TEMPLATE"
PS_FLAGS = f"""\
all,a bool Show all containers (default shows just running)
filter,f list Filter output based on conditions provided
format string {FORMAT}
last,n int=-1 Show n last created containers (includes all states)
latest,l bool Show the latest created container (includes all states)
no-trunc bool Don't truncate output
quiet,q bool Only display container IDs
size,s bool Display total file sizes
"""
EXEC_FLAGS = """\
detach,d bool Detached mode: run command in the background
detach-keys string Override the key sequence for detaching a container
env,e list Set environment variables
env-file list Read in a file of environment variables
interactive,i bool Keep STDIN open even if not attached
privileged bool Give extended privileges to the command
tty,t bool Allocate a pseudo-TTY
user,u string Username or UID (format: "<name|uid>[:<group|gid>]")
workdir,w string Working directory inside the container
"""
LOGS_FLAGS = """\
details bool Show extra details provided to logs
follow,f bool Follow log output
since string Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
tail,n string=all Number of lines to show from the end of the logs
timestamps,t bool Show timestamps
until string Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
"""
STOP_FLAGS = """\
signal,s string Signal to send to the container
timeout,t int Seconds to wait before killing the container
time int -
"""
START_FLAGS = """\
attach,a bool Attach STDOUT/STDERR and forward signals
checkpoint string! Restore from this checkpoint
checkpoint-dir string! Use a custom checkpoint storage directory
detach-keys string Override the key sequence for detaching a container
interactive,i bool Attach container's STDIN
"""
ATTACH_FLAGS = """\
detach-keys string Override the key sequence for detaching a container
no-stdin bool Do not attach STDIN
sig-proxy bool=true Proxy all received signals to the process
"""
RM_FLAGS = """\
force,f bool Force the removal of a running container (uses SIGKILL)
link,l bool! Remove the specified link
volumes,v bool Remove anonymous volumes associated with the container
"""
INSPECT_FLAGS = f"""\
format,f string {FORMAT}
size,s bool Display total file sizes if the type is container
type string Only inspect objects of the given type
"""
EVENTS_FLAGS = f"""\
filter,f list Filter output based on conditions provided
format string {FORMAT}
since string Show all events created since timestamp
until string Stream events until this timestamp
"""
IMAGES_FLAGS = f"""\
all,a bool Show all images (default hides intermediate images)
digests bool Show digests
filter,f list Filter output based on conditions provided
format string {FORMAT}
no-trunc bool Don't truncate output
quiet,q bool Only show image IDs
tree bool! List multi-platform images as a tree
"""
RMI_FLAGS = """\
force,f bool Force removal of the image
no-prune bool Do not delete untagged parents
platform list! Remove only the given platform variant
"""
IMPORT_FLAGS = """\
change,c list Apply Dockerfile instruction to the created image
message,m string Set commit message for imported image
platform string Set platform if server is multi-platform capable
"""
LOAD_FLAGS = """\
input,i string Read from tar archive file, instead of STDIN
platform list! Load only the given platform variant
quiet,q bool Suppress the load output
"""
PULL_FLAGS = """\
all-tags,a bool Download all tagged images in the repository
disable-content-trust bool=true Skip image verification
platform string Set platform if server is multi-platform capable
quiet,q bool Suppress verbose output
"""
PUSH_FLAGS = """\
all-tags,a bool Push all tags of an image to the repository
disable-content-trust bool=true Skip image signing
platform string! Push a platform-specific manifest as a single-platform image to the registry
quiet,q bool Suppress verbose output
"""
LOGIN_FLAGS = """\
password,p string Password or Personal Access Token (PAT)
password-stdin bool Take the Password or Personal Access Token (PAT) from stdin
username,u string Username
"""
SEARCH_FLAGS = f"""\
filter,f list Filter output based on conditions provided
format string {FORMAT}
limit int=25 Max number of search results
no-trunc bool Don't truncate output
"""
IMAGE_TREE_FLAGS = f"""\
format,f string {FORMAT}
layer int Show the files of one layer, by its number
no-trunc bool Don't truncate output
"""
MANIFEST_INSPECT_FLAGS = """\
insecure bool! Allow communication with an insecure registry
verbose,v bool Output additional info including layers and platform
"""
SERVE_FLAGS = """\
root string=/var/lib/dockyard Folder of images, containers and the database
run string=/run/dockyard Folder of what lives as long as the machine runs
socket string Path of the API's socket (default RUN/dockyard.sock)
ready-fd int -
log-level string=info One of debug, info, warning, error
ip string Where ports are published that name no address (default: everywhere)
config string Registries' mirrors and certificates (default /etc/dockyard/engine.toml)
"""
GLOBAL_FLAGS = """\
host,H list Engine to connect to: unix:///path/to/socket (also DOCKYARD_HOST)
version,v bool Print version information and quit
config string! -
context,c string! -
debug,D bool! -
log-level,l string! -
tls bool! -
tlscacert string! -
tlscert string! -
tlskey string! -
tlsverify bool! -
"""
VOLUME_CREATE_FLAGS = """\
availability string! Cluster Volume availability
driver,d string=local Specify volume driver name
group string! Cluster Volume group
label list Set metadata for a volume
limit-bytes bytes! Minimum size of the Cluster Volume in bytes
name string -
opt,o list Set driver specific options
required-bytes bytes! Maximum size of the Cluster Volume in bytes
scope string! Cluster Volume access scope
secret list! Cluster Volume secrets
sharing string! Cluster Volume access sharing
topology-preferred list! A topology that the Cluster Volume would be preferred in
topology-required list! A topology that the Cluster Volume must be accessible from
type string! Cluster Volume access type
"""
VOLUME_LS_FLAGS = f"""\
cluster bool! Display only cluster volumes
filter,f list Provide filter values (e.g. "dangling=true")
format string {FORMAT}
quiet,q bool Only display volume names
"""
VOLUME_PRUNE_FLAGS = """\
all,a bool Remove all unused volumes, not just anonymous ones
filter list Provide filter values (e.g. "label=<label>")
force,f bool Do not prompt for confirmation
"""

UPDATE_FLAGS = """\
blkio-weight int Block IO (relative weight), between 10 and 1000
cpu-period int Limit CPU CFS (Completely Fair Scheduler) period
cpu-quota int Limit CPU CFS (Completely Fair Scheduler) quota
cpu-rt-period int! Limit the CPU real-time period in microseconds
cpu-rt-runtime int! Limit the CPU real-time runtime in microseconds
cpu-shares,c int CPU shares (relative weight)
cpus decimal Number of CPUs
cpuset-cpus string CPUs in which to allow execution (0-3, 0,1)
cpuset-mems string MEMs in which to allow execution (0-3, 0,1)
kernel-memory bytes! Kernel memory limit
memory,m bytes Memory limit
memory-reservation bytes Memory soft limit
memory-swap bytes Swap limit equal to memory plus swap: -1 to enable unlimited swap
pids-limit int Tune container pids limit (set -1 for unlimited)
restart string Restart policy to apply when a container exits
"""
CONTAINER_PRUNE_FLAGS = """\
filter list Provide filter values (e.g. "until=<timestamp>")
force,f bool Do not prompt for confirmation
"""
CP_FLAGS = """\
archive,a bool Archive mode (copy all uid/gid information)
follow-link,L bool Always follow symbol link in SRC_PATH
quiet,q bool Suppress the line that tells how much was copied
"""
COMMIT_FLAGS = """\
author,a string Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
change,c list Apply Dockerfile instruction to the created image
message,m string Commit message
pause,p bool=true Pause container during commit
"""
EXPORT_FLAGS = "output,o string Write to a file, instead of STDOUT\n"
HISTORY_FLAGS = f"""\
format string {FORMAT}
human,H bool=true Print sizes and dates in human readable format
no-trunc bool Don't truncate output
platform string! Show history for the given platform
quiet,q bool Only show image IDs
"""
SAVE_FLAGS = """\
output,o string Write to a file, instead of STDOUT
platform list! Save only the given platform variant
"""
IMAGE_PRUNE_FLAGS = """\
all,a bool Remove all unused images, not just dangling ones
filter list Provide filter values (e.g. "until=<timestamp>")
force,f bool Do not prompt for confirmation
"""
STATS_FLAGS = f"""\
all,a bool Show all containers (default shows just running)
format string {FORMAT}
no-stream bool Disable streaming stats and only pull the first result
no-trunc bool Do not truncate output
"""
DF_FLAGS = f"""\
format string {FORMAT}
verbose,v bool Show detailed information on space usage
"""
SYSTEM_PRUNE_FLAGS = """\
all,a bool Remove all unused images not just dangling ones
filter list Provide filter values (e.g. "label=<key>=<value>")
force,f bool Do not prompt for confirmation
volumes bool Prune anonymous volumes
"""
NETWORK_CREATE_FLAGS = """\
attachable bool Enable manual container attachment
aux-address list Auxiliary IPv4 or IPv6 addresses used by Network driver: NAME=ADDRESS
config-from string! The network from which to copy the configuration
config-only bool! Create a configuration only network
driver,d string=bridge Driver to manage the Network
gateway list IPv4 or IPv6 Gateway for the master subnet
ingress bool! Create swarm routing-mesh network
internal bool Restrict external access to the network
ip-range list Allocate container ip from a sub-range
ipam-driver string=default IP Address Management Driver
ipam-opt list Set IPAM driver specific options
ipv4 bool=true Enable or disable IPv4 address assignment
ipv6 bool Enable or disable IPv6 address assignment
label list Set metadata on a network
opt,o list Set driver specific options
scope string! Control the network's scope
subnet list Subnet in CIDR format that represents a network segment
"""
NETWORK_LS_FLAGS = f"""\
filter,f list Provide filter values (e.g. "driver=bridge")
format string {FORMAT}
no-trunc bool Do not truncate the output
quiet,q bool Only display network IDs
"""
NETWORK_INSPECT_FLAGS = f"""\
format,f string {FORMAT}
verbose,v bool Verbose output for diagnostics
"""
NETWORK_CONNECT_FLAGS = """\
alias list Add network-scoped alias for the container
driver-opt list driver options for the network
gw-priority int=0 Highest gw-priority provides the default gateway. Accepts positive and negative values.
ip string IPv4 address (e.g., "172.30.100.104")
ip6 string IPv6 address (e.g., "2001:db8::33")
link list Add link to another container
link-local-ip list Add a link-local address for the container
mac-address string MAC address for the container on this network
"""
NETWORK_PRUNE_FLAGS = """\
filter list Provide filter values (e.g. "until=<timestamp>")
force,f bool Do not prompt for confirmation
"""
