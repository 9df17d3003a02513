"""Command lines about networks and ports; what docker's client sent for each is in ``network.json``."""

from __future__ import annotations

import shlex

_ENDPOINT = "alias=a,alias=b,ip=1.2.3.4,ip6=fd00::2,mac-address=02:00:00:00:00:01,driver-opt=k=v,driver-opt=l=w"
_SUBNET = "network create --subnet 10.1.0.0/16"
_TWO = f"{_SUBNET} --subnet 10.9.0.0/16"

_CREATE = f"""\
-p 80
-p 80/udp
-p 80/UDP
-p 80/
-p :80
-p 8080:80
-p 8080:80/sctp
-p 0:80
-p 080:80
-p 127.0.0.1:8080:80
-p 127.0.0.1::80
-p 0.0.0.0:80:80
-p [::1]:80:80
-p [::1]::80
-p ::1:80:80
-p [::]:80:80
-p [1.2.3.4]:80:80
-p ::ffff:1.2.3.4:80:80
-p 8000-8002:80-82
-p 127.0.0.1:8000-8001:80-81/udp
-p 8000-8002:80
-p 8000-8000:80
-p 8000-8001:80-80
-p 80-82
-p 8080:80 -p 8081:80 -p 8080:80
-p 8080:80/tcp -p 8080:80/udp --expose 80 --expose 90-92/udp --expose 7000/sctp
-p published=8080,target=80
-p published=8080,target=80,protocol=udp,mode=host
-p published=8080-8082,target=80-82
-p target=80
-P
-P --expose 80
--publish-all=false
--expose 80
--expose 80-82/udp
--expose 80/
-p 65536:80
-p 80:65536
-p a:80
-p 80:a
-p 80:
-p ''
-p 1.2.3:80:80
-p 1.2.3.4.5:80:80
-p host:80:80
-p 010.0.0.1:80:80
-p 127.0.0.1:80
-p ::1]:80:80
-p 8000-8002:80-83
-p 8002-8000:80-82
-p 80:80/foo
-p ' 80:80'
-p +80:80
-p -1:80
-p 80-:80
-p 1.2.3.4:1:2:3
-p fe80::1%eth0:80:80
--expose 80:80
--expose 82-80
--expose 65536
--expose a
--expose ''
--expose /tcp
--network none
--network host
--network bridge
--network default
--network container:x
--network container:x -p 80:80
--network foo
--network foo --network bar
--net foo --network bar
--network foo --network bar --net baz
--network name=foo
--network foo,bar
--network name=foo,name=bar
--network name=foo,{_ENDPOINT},gw-priority=5,link-local-ip=169.254.1.1
--network name=foo,gw-priority=-7
--network name=foo,gw-priority=+5
--network name=foo,alias=a --network bar
--network name=foo --network name=bar,alias=x
--network 'name=foo,"alias=a,b"'
--network name=none,ip=1.2.3.4
--network ''
--network foo --network foo
--network alias=a
--network name=foo,nope=1
--network name=foo,alias
--network foo=bar
--network name=foo,driver-opt=k
--network name=foo,driver-opt==v
--network name=foo,mac-address=zz
--network name=foo,gw-priority=a
--network name=foo,gw-priority=0x5
--network bridge --network foo
--network foo --network host
--network container:x --network foo
--network host --network none
--network name=bridge,alias=x
--network-alias a
--network bridge --network-alias a
--network foo --network-alias a --network-alias b
--net foo --net-alias a --network-alias b
--network foo --network-alias a --network bar
--network name=foo,alias=x --network-alias a
--ip 1.2.3.4
--network foo --ip 1.2.3.4
--network foo --ip6 fd00::3
--network foo --ip 1.2.3.4 --ip6 fd00::3 --link-local-ip 169.254.1.1 --link-local-ip 169.254.1.2
--network foo --network bar --ip 1.2.3.4
--network name=foo,ip=1.2.3.4 --ip 1.2.3.5
--network name=foo,ip6=fd00::1 --ip6 fd00::2
--network name=foo,link-local-ip=169.254.1.1 --link-local-ip 169.254.1.2
--network foo --mac-address 02:00:00:00:00:02
--mac-address 02:00:00:00:00:02
--mac-address 02-00-00-00-00-02
--mac-address 0200.0000.0002
--network name=foo,mac-address=02:00:00:00:00:01 --mac-address 02:00:00:00:00:02
--mac-address zz
--mac-address 2:0:0:0:0:0
--link db
--link db:d --link web
--network foo --link db:d
--network foo --network bar --link db:d
--network bridge --link db:d
--link db:d:e
--link ''
--dns 1.1.1.1 --dns 8.8.8.8
--dns ' 1.1.1.1 '
--dns 2001:DB8:0::1
--dns zz
--dns ''
--dns-search example.com --dns-search .
--dns-search foo.
--dns-search 'a.b. '
--dns-search a-b.c1
--dns-search ''
--dns-search 'a b'
--dns-search 123
--dns-search _x
--dns-search a..b
--dns-search .a
--dns-search é.b
--dns-opt ndots:2 --dns-option use-vc --dns-opt x
--add-host a:1.2.3.4
--add-host a=1.2.3.4 --add-host a:1.2.3.5
--add-host a:host-gateway --add-host b=host-gateway
--add-host a=::1
--add-host a=[::1]
--add-host a:::1
--add-host a:[::1]
--add-host a=2001:DB8::0:1
--add-host a:zz
--add-host a
--add-host :1.2.3.4
--add-host a:
--add-host ''
--add-host a=b=1.2.3.4
--add-host a:b:1.2.3.4
--add-host a:HOST-GATEWAY
--network foo -h x -p 80:80 --network-alias y --dns 1.1.1.1"""

_OTHERS = f"""\
network create n
network create -d macvlan -o parent=eth0 -o a n
{_SUBNET} --gateway 10.1.0.1 --ip-range 10.1.2.0/24 --aux-address a=10.1.0.5 --aux-address b=10.1.0.6 n
network create --subnet 10.1.0.0/16,10.2.0.0/16 --gateway 10.2.0.1,10.1.0.1 n
{_SUBNET} --subnet fd00:1::/64 --gateway fd00:1::1 --ipv6 n
network create --ipv4=false --ipv6 n
network create --ipv6=false n
network create --ipv4 n
network create --internal --attachable --label a=b --label c n
network create --ipam-driver foo --ipam-opt k=v --ipam-opt x n
network create --subnet 10.1.2.3/16 --gateway 10.1.0.1 n
network create --subnet FD00:1::/64 n
network create --subnet '' n
{_SUBNET} --ip-range 10.1.2.3/24 n
network create --gateway 10.1.0.1 n
network create --ip-range 10.1.0.0/24 n
{_SUBNET} --gateway 10.2.0.1 n
{_SUBNET} --gateway zz n
{_TWO} --gateway 10.1.0.1 --gateway 10.1.0.2 n
{_TWO} --ip-range 10.1.0.0/24 --ip-range 10.1.1.0/24 n
{_SUBNET} --ip-range 10.2.0.0/24 n
{_SUBNET} --ip-range zz n
{_SUBNET} --aux-address a=10.9.0.1 n
network create --subnet zz --gateway 10.1.0.1 n
{_SUBNET} --subnet 10.1.5.0/24 n
network create --subnet 10.1.5.0/24 --subnet 10.1.0.0/16 n
network create --label =x n
network create --label 'a b=x' n
network connect n c
network connect --alias a --alias b,c --ip 1.2.3.4 --ip6 fd00::1 --link x:y --link z --gw-priority 3 n c
network connect --link-local-ip 169.254.1.1,169.254.1.2 --gw-priority -3 n c
network connect --driver-opt k=v --driver-opt l=w n c
network connect --gw-priority a n c
network connect --link a:b:c n c
network connect --driver-opt k n c
network disconnect n c
network disconnect -f n c"""

#: Each as its words.
LINES = [shlex.split(f"create {line} box") for line in _CREATE.splitlines()]
LINES += [shlex.split(line) for line in _OTHERS.splitlines()]
