#!/bin/sh
# The same rules as nftables.conf for machines that have ufw: run it as root, once. Say where
# administrators come from, or SSH stays open to everybody:
#
#     ADMINS=192.0.2.0/24 sh ufw.sh
#
# With UFW=echo it prints what it would do.
set -eu
ufw=${UFW:-ufw}
admins=${ADMINS:-any}

# Nothing comes in that is not named below; the service may go out (models, webhooks, S3).
$ufw default deny incoming
$ufw default allow outgoing
# Nothing is forwarded: this machine is no router.
$ufw default deny routed
# Administrators first, so that whoever runs this stays connected; slowed after six tries.
$ufw limit from "$admins" to any port 22 proto tcp comment 'SSH'
# The proxy. 80 is for the redirection to 443 and for certificates.
$ufw allow 80/tcp comment 'HTTP, redirected'
$ufw allow 443/tcp comment 'HTTPS'
$ufw allow 443/udp comment 'HTTP/3'
# 8000 and 10300 (the service) and 5432 and 6379 (database, queue) are not here: ufw lets
# this machine talk to itself, and nobody else reaches them.
$ufw logging low
$ufw --force enable
