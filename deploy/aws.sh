#!/usr/bin/env bash
# Prepare an AWS account for `ray up cluster.yaml`. Run it once, after `aws configure`:
#
#   bash deploy/aws.sh [BUCKET]
#
# It makes what is missing: a bucket for results, a role for the head and one for the workers, and
# the token of the cluster. It may be run again: it makes nothing twice. At the end it says how many
# GPU machines the account's quotas allow, and which command asks for more.
# The default BUCKET is fer-search-ACCOUNT-REGION. The roles reach the bucket of the last run only.
set -euo pipefail
cd "$(dirname "$0")/.."

HEAD=fer-search-head WORKER=fer-search-worker         # roles, as cluster.yaml names them
SPOT=L-3819A6DF ON_DEMAND=L-DB2E81BA                  # quotas of G and VT machines, in vCPUs

say() { printf '%-10s %s\n' "$1" "$2"; }
fail() { printf 'error: %s\n' "$1" >&2; exit 2; }

for tool in aws ray python; do
  command -v $tool >/dev/null ||
    fail "the command $tool is missing; pip install -c requirements.lock -e '.[cluster]'"
done
said=$(python - <<'END'
import yaml

cluster = yaml.safe_load(open("cluster.yaml"))
types = cluster["available_node_types"]
spot = types["gpu_spot"]
print(cluster["provider"]["region"], cluster["max_workers"])
print(spot["node_config"]["InstanceType"], spot["resources"]["CPU"])
print(*sorted({node["node_config"]["ImageId"] for node in types.values()}))
END
) || fail "cluster.yaml cannot be read with Python; pip install -c requirements.lock -e '.[cluster]'"
{ read -r region machines; read -r machine vcpus_each; read -r -a images; } <<<"$said"
export AWS_DEFAULT_REGION=$region AWS_REGION=$region AWS_PAGER=
account=$(aws sts get-caller-identity --query Account --output text) ||
  fail "AWS does not know you; run aws configure"
bucket=${1:-fer-search-$account-$region}
say account "$account, region $region (provider.region in cluster.yaml)"

# AWS looks these names up when it starts a machine. Here we only see that it knows them.
for image in "${images[@]}"; do
  name=${image#resolve:ssm:}
  [ "$name" != "$image" ] || { say image "$image"; continue; }  # the id of an image of your own
  id=$(aws ssm get-parameter --name "$name" --query Parameter.Value --output text) ||
    fail "AWS has no image $name in $region; choose another region in cluster.yaml"
  say image "$id, $name"
done
vpc=$(aws ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[].VpcId' \
  --output text)
[ -n "$vpc" ] || fail "the region has no default network; run aws ec2 create-default-vpc"

if aws s3api head-bucket --bucket "$bucket" >/dev/null 2>&1; then
  say bucket "s3://$bucket"
else
  place=(--create-bucket-configuration "LocationConstraint=$region")
  [ "$region" = us-east-1 ] && place=()  # S3 refuses to be told its default
  aws s3api create-bucket --bucket "$bucket" "${place[@]}" >/dev/null ||
    fail "the bucket $bucket cannot be made; if its name is taken, run bash deploy/aws.sh BUCKET"
  say bucket "s3://$bucket, made"
fi

statement() { printf '{"Effect": "Allow", "Action": [%s], "Resource": %s}' "$1" "$2"; }
policy() {
  local IFS=,
  printf '{"Version": "2012-10-17", "Statement": [%s]}' "$*"
}
in_bucket=$(statement '"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"' \
  "\"arn:aws:s3:::$bucket/*\"")
list_bucket=$(statement '"s3:ListBucket", "s3:GetBucketLocation"' "\"arn:aws:s3:::$bucket\"")
on_ec2=$(statement '"ec2:Describe*", "ec2:RunInstances", "ec2:StartInstances",
  "ec2:StopInstances", "ec2:TerminateInstances", "ec2:CreateTags", "ec2:DeleteTags",
  "ec2:CancelSpotInstanceRequests"' '"*"')
look_up=$(statement '"ssm:GetParameters"' '"arn:aws:ssm:*::parameter/aws/service/*"')
pass=$(statement '"iam:PassRole"' "\"arn:aws:iam::$account:role/$WORKER\"")

role() {  # NAME POLICY: make a role with a profile of the same name, and set what it may do
  local made="" trust
  trust=$(printf '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": %s, %s}]}' \
    '"sts:AssumeRole"' '"Principal": {"Service": "ec2.amazonaws.com"}')
  if ! aws iam get-role --role-name "$1" >/dev/null 2>&1; then
    aws iam create-role --role-name "$1" --assume-role-policy-document "$trust" >/dev/null
    made=", made"
  fi
  aws iam put-role-policy --role-name "$1" --policy-name fer-search --policy-document "$2"
  if ! aws iam get-instance-profile --instance-profile-name "$1" >/dev/null 2>&1; then
    aws iam create-instance-profile --instance-profile-name "$1" >/dev/null
    made=", made"
  fi
  if ! aws iam get-instance-profile --instance-profile-name "$1" \
    --query 'InstanceProfile.Roles[].RoleName' --output text | grep -qw "$1"; then
    aws iam add-role-to-instance-profile --instance-profile-name "$1" --role-name "$1"
    sleep 10  # EC2 learns of a new profile after some seconds
  fi
  say role "$1$made"
}
role $WORKER "$(policy "$list_bucket" "$in_bucket")"
role $HEAD "$(policy "$list_bucket" "$in_bucket" "$on_ec2" "$look_up" "$pass")"
spot=$(aws iam list-roles --path-prefix /aws-service-role/spot.amazonaws.com/ \
  --query 'Roles[].RoleName' --output text)
if [ -z "$spot" ]; then  # the account never had a spot machine
  aws iam create-service-linked-role --aws-service-name spot.amazonaws.com >/dev/null ||
    say role "the account's role for spot machines cannot be made; the first spot machine makes it"
fi

token=~/.ray/auth_token
[ -s $token ] || ray get-auth-token --generate >/dev/null
chmod 600 $token  # Ray makes it 644
say token "$token"

quota() {  # CODE MARKET: say how many machines a quota allows, and how to ask for more
  local query=(--service-code ec2 --quota-code "$1" --query Quota.Value --output text) vcpus count
  vcpus=$(aws service-quotas get-service-quota "${query[@]}" 2>/dev/null ||
    aws service-quotas get-aws-default-service-quota "${query[@]}" 2>/dev/null || echo unknown)
  if [ "$vcpus" = unknown ]; then
    say quota "AWS does not tell how many $2 $machine it allows"
  else
    count=$((${vcpus%.*} / vcpus_each))
    say quota "$count $2 $machine; cluster.yaml starts at most $machines machines"
    [ $count -lt "$machines" ] || return 0
  fi
  say "" "to have more, ask for it (an answer may take days): aws service-quotas \\"
  say "" "  request-service-quota-increase --region $region --service-code ec2 \\"
  say "" "  --quota-code $1 --desired-value $((machines * vcpus_each))"
}
quota $SPOT spot
quota $ON_DEMAND on-demand
say next "export RAY_AUTH_MODE=token; ray up cluster.yaml"
say "" "search.run takes --store s3://$bucket/store --studies s3://$bucket/studies"
say "" "  --leaderboards s3://$bucket/boards"
