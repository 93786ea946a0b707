#!/usr/bin/env python3
"""Writes managed_policies.json and managed_policy_names.txt: AWS's own policies as AWS answers
`iam:ListPolicies` and `iam:GetPolicyVersion` about them, which the package `moto` carries
(Apache-2.0).

    python3 -m venv /tmp/v && /tmp/v/bin/pip install moto==5.2.5
    /tmp/v/bin/python runtime/cloud/models/trim_managed_policies.py

The documents are AWS's; each is on a page of
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html, too. Kept are those
that a data pipeline and its people could use; of all others the names. Descriptions and IDs are
not in the package.
"""

import json
import pathlib
from importlib.metadata import version

from moto.iam.aws_managed_policies import aws_managed_policies_data

HERE = pathlib.Path(__file__).parent
KEPT = """
AdministratorAccess PowerUserAccess job-function/DataScientist job-function/DatabaseAdministrator
IAMFullAccess IAMReadOnlyAccess IAMUserChangePassword
AmazonS3FullAccess AmazonS3ReadOnlyAccess
AmazonAthenaFullAccess service-role/AWSQuicksightAthenaAccess
service-role/AWSGlueServiceRole service-role/AWSGlueServiceNotebookRole AWSGlueConsoleFullAccess
AWSGlueConsoleSageMakerNotebookFullAccess AWSGlueSchemaRegistryFullAccess
AWSGlueSchemaRegistryReadonlyAccess AWSLakeFormationDataAdmin
service-role/AWSLambdaBasicExecutionRole service-role/AWSLambdaSQSQueueExecutionRole
service-role/AWSLambdaKinesisExecutionRole service-role/AWSLambdaDynamoDBExecutionRole
service-role/AWSLambdaVPCAccessExecutionRole service-role/AWSLambdaENIManagementAccess
service-role/AWSLambdaMSKExecutionRole service-role/AWSLambdaRole AWSLambdaExecute
AWSLambdaInvocation-DynamoDB AWSLambda_FullAccess AWSLambda_ReadOnlyAccess
CloudWatchLambdaInsightsExecutionRolePolicy
AWSStepFunctionsFullAccess AWSStepFunctionsReadOnlyAccess AWSStepFunctionsConsoleFullAccess
AmazonDynamoDBFullAccess AmazonDynamoDBFullAccess_v2 AmazonDynamoDBReadOnlyAccess
AmazonKinesisFullAccess AmazonKinesisReadOnlyAccess AmazonKinesisFirehoseFullAccess
AmazonKinesisFirehoseReadOnlyAccess
AmazonSQSFullAccess AmazonSQSReadOnlyAccess AmazonSNSFullAccess AmazonSNSReadOnlyAccess
service-role/AmazonSNSRole
AmazonEventBridgeFullAccess AmazonEventBridgeReadOnlyAccess AmazonEventBridgeSchedulerFullAccess
AmazonEventBridgeSchedulerReadOnlyAccess AmazonEventBridgePipesFullAccess
CloudWatchEventsFullAccess CloudWatchEventsReadOnlyAccess
service-role/CloudWatchEventsBuiltInTargetExecutionAccess
service-role/CloudWatchEventsInvocationAccess
CloudWatchFullAccess CloudWatchReadOnlyAccess CloudWatchLogsFullAccess CloudWatchLogsReadOnlyAccess
CloudWatchAgentServerPolicy CloudWatchAgentAdminPolicy
AWSXRayDaemonWriteAccess AWSXrayWriteOnlyAccess AWSXrayFullAccess
AmazonSSMManagedInstanceCore AmazonSSMFullAccess AmazonSSMReadOnlyAccess
AmazonSSMManagedEC2InstanceDefaultPolicy service-role/AmazonEC2RoleforSSM
SecretsManagerReadWrite AWSKeyManagementServicePowerUser
AmazonEC2FullAccess AmazonEC2ReadOnlyAccess AmazonVPCFullAccess AmazonVPCReadOnlyAccess
AutoScalingFullAccess
AWSCloudFormationFullAccess AWSCloudFormationReadOnlyAccess
AWSCloudTrail_FullAccess AWSCloudTrail_ReadOnlyAccess
ResourceGroupsandTagEditorFullAccess ResourceGroupsandTagEditorReadOnlyAccess
service-role/AmazonAPIGatewayPushToCloudWatchLogs AmazonAPIGatewayInvokeFullAccess
service-role/AmazonECSTaskExecutionRolePolicy AmazonEC2ContainerRegistryReadOnly
""".split()


def main():
    known = json.loads(aws_managed_policies_data)
    paths = {policy["Path"].lstrip("/") + name: policy for name, policy in known.items()}
    lines = []
    for name in sorted(KEPT):
        policy = paths[name]
        about = {
            "version": int(policy["DefaultVersionId"].lstrip("v")),
            "created": policy["CreateDate"],
            "updated": policy.get("UpdateDate", policy["CreateDate"]),
            "document": policy["Document"],
        }
        lines.append(f"{json.dumps(name)}:{json.dumps(about, separators=(',', ':'))}")
    newest = max(policy.get("UpdateDate", "") for policy in known.values())
    origin = f"moto {version('moto')} (Apache-2.0): AWS's managed policies, the newest of {newest}"
    body = ",\n".join(lines)
    (HERE / "managed_policies.json").write_text(
        f'{{"origin":{json.dumps(origin)},"policies":{{\n{body}\n}}}}\n'
    )
    names = "\n".join(sorted(paths))
    (HERE / "managed_policy_names.txt").write_text(f"# {origin}\n{names}\n")


main()
