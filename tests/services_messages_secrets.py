"""Parameter Store and KMS."""

import json

from botocore.exceptions import ClientError
from services_messages_checks import check, equal, refused


def run_kms(cloud):
    keys(cloud)
    aliases(cloud)
    cryptography(cloud)
    policies(cloud)
    deletion(cloud)
    templates_of_keys(cloud)


def run_ssm(cloud):
    parameters(cloud)
    versions(cloud)
    paths(cloud)
    secure(cloud)
    templates_of_parameters(cloud)


def keys(cloud):
    kms = cloud.client("kms")
    made = kms.create_key(Description="d", Tags=[{"TagKey": "a", "TagValue": "b"}])["KeyMetadata"]
    equal("a key", (made["Arn"], made["KeyState"], made["KeyUsage"], made["KeySpec"], made["KeyManager"]), (cloud.arn("kms", f"key/{made['KeyId']}"), "Enabled", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "CUSTOMER"))
    equal("DescribeKey", kms.describe_key(KeyId=made["Arn"])["KeyMetadata"]["Description"], "d")
    check("ListKeys", made["KeyId"] in [k["KeyId"] for k in kms.list_keys()["Keys"]])
    kms.update_key_description(KeyId=made["KeyId"], Description="new")
    equal("UpdateKeyDescription", kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["Description"], "new")
    kms.tag_resource(KeyId=made["KeyId"], Tags=[{"TagKey": "c", "TagValue": "d"}])
    kms.untag_resource(KeyId=made["KeyId"], TagKeys=["a"])
    equal("tags of a key", kms.list_resource_tags(KeyId=made["KeyId"])["Tags"], [{"TagKey": "c", "TagValue": "d"}])
    kms.disable_key(KeyId=made["KeyId"])
    equal("a disabled key", refused(kms.encrypt, KeyId=made["KeyId"], Plaintext=b"x"), "DisabledException")
    kms.enable_key(KeyId=made["KeyId"])
    equal("and enabled again", "CiphertextBlob" in kms.encrypt(KeyId=made["KeyId"], Plaintext=b"x"), True)
    equal("no key", refused(kms.describe_key, KeyId="00000000-0000-0000-0000-000000000000"), "NotFoundException")
    for params in ({"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, {"Origin": "EXTERNAL"}, {"MultiRegion": True}):
        equal(f"keys with {params} are refused by name", refused(kms.create_key, **params), "NotImplemented")
    for call, params in ((kms.enable_key_rotation, {"KeyId": made["KeyId"]}), (kms.sign, {"KeyId": made["KeyId"], "Message": b"x", "SigningAlgorithm": "RSASSA_PSS_SHA_256"})):
        equal(f"{call.__name__} is refused by name", refused(call, **params), "NotImplemented")
    equal("nothing is rotated", kms.get_key_rotation_status(KeyId=made["KeyId"])["KeyRotationEnabled"], False)


def aliases(cloud):
    kms = cloud.client("kms")
    one, two = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.create_alias(AliasName="alias/mine", TargetKeyId=one)
    equal("an alias once", refused(kms.create_alias, AliasName="alias/mine", TargetKeyId=two), "AlreadyExistsException")
    equal("a key by its alias", kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["KeyId"], one)
    equal("and by the alias's ARN", kms.describe_key(KeyId=cloud.arn("kms", "alias/mine"))["KeyMetadata"]["KeyId"], one)
    equal("aliases of a key", [a["AliasName"] for a in kms.list_aliases(KeyId=one)["Aliases"]], ["alias/mine"])
    kms.update_alias(AliasName="alias/mine", TargetKeyId=two)
    equal("an alias moves", kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["KeyId"], two)
    kms.delete_alias(AliasName="alias/mine")
    equal("a deleted alias", refused(kms.describe_key, KeyId="alias/mine"), "NotFoundException")
    equal("AWS's aliases are AWS's", refused(kms.create_alias, AliasName="alias/aws/x", TargetKeyId=one), "NotAuthorizedException")
    equal("an alias has its prefix", refused(kms.create_alias, AliasName="x", TargetKeyId=one), "InvalidAliasNameException")


def cryptography(cloud):
    kms = cloud.client("kms")
    one, two = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    blob = kms.encrypt(KeyId=one, Plaintext=b"secret", EncryptionContext={"b": "2", "a": "1"})["CiphertextBlob"]
    check("a ciphertext does not show", b"secret" not in blob)
    check("the same twice is not the same", blob != kms.encrypt(KeyId=one, Plaintext=b"secret", EncryptionContext={"b": "2", "a": "1"})["CiphertextBlob"])
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1", "b": "2"})
    equal("decrypted without being told the key", (opened["Plaintext"], opened["KeyId"]), (b"secret", cloud.arn("kms", f"key/{one}")))
    for name, params in (("without its context", {}), ("with another context", {"EncryptionContext": {"a": "1", "b": "3"}})):
        equal(f"a ciphertext {name}", refused(kms.decrypt, CiphertextBlob=blob, **params), "InvalidCiphertextException")
    equal("a ciphertext of another key", refused(kms.decrypt, CiphertextBlob=blob, KeyId=two, EncryptionContext={"a": "1", "b": "2"}), "IncorrectKeyException")
    equal("a ciphertext that was changed", refused(kms.decrypt, CiphertextBlob=blob[:-1] + bytes([blob[-1] ^ 1]), EncryptionContext={"a": "1", "b": "2"}), "InvalidCiphertextException")
    equal("what is no ciphertext", refused(kms.decrypt, CiphertextBlob=b"x"), "InvalidCiphertextException")
    again = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext={"a": "1", "b": "2"}, DestinationKeyId=two)
    equal("ReEncrypt", (kms.decrypt(CiphertextBlob=again["CiphertextBlob"])["Plaintext"], again["KeyId"]), (b"secret", cloud.arn("kms", f"key/{two}")))
    equal("4,096 bytes at most", refused(kms.encrypt, KeyId=one, Plaintext=b"x" * 4097), "ValidationException")
    data = kms.generate_data_key(KeyId=one, KeySpec="AES_256", EncryptionContext={"x": "y"})
    equal("a data key", (len(data["Plaintext"]), kms.decrypt(CiphertextBlob=data["CiphertextBlob"], EncryptionContext={"x": "y"})["Plaintext"]), (32, data["Plaintext"]))
    hidden = kms.generate_data_key_without_plaintext(KeyId=one, NumberOfBytes=24)
    equal("a data key without plaintext", ("Plaintext" in hidden, len(kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"])), (False, 24))
    equal("a data key of no size", refused(kms.generate_data_key, KeyId=one), "ValidationException")
    equal("random bytes", len(kms.generate_random(NumberOfBytes=100)["Plaintext"]), 100)
    cloud.crash()
    kms = cloud.client("kms")
    equal("after a crash it is decrypted", kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1", "b": "2"})["Plaintext"], b"secret")


def policies(cloud):
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]
    policy = json.loads(kms.get_key_policy(KeyId=key["KeyId"])["Policy"])
    equal("the policy that everybody has", policy["Statement"][0]["Principal"], {"AWS": f"arn:aws:iam::{cloud.account}:root"})
    equal("its name", kms.list_key_policies(KeyId=key["KeyId"])["PolicyNames"], ["default"])
    role = cloud.role("key-user", None, [{"Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": key["Arn"]}])
    user = cloud.client("kms", cloud.as_role(role))
    blob = user.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    equal("a role may what it may", user.decrypt(CiphertextBlob=blob)["Plaintext"], b"x")
    equal("and no more", refused(user.generate_data_key, KeyId=key["KeyId"], KeySpec="AES_256"), "AccessDeniedException")
    own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{cloud.account}:user/administrator"}, "Action": "kms:*", "Resource": "*"}
    kms.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps({"Version": "2012-10-17", "Statement": [own]}))
    equal("unless the key's policy leaves it out", refused(user.decrypt, CiphertextBlob=blob), "AccessDeniedException")
    equal("who would be locked out is told", refused(kms.put_key_policy, KeyId=key["KeyId"], Policy=json.dumps({"Version": "2012-10-17", "Statement": [own | {"Principal": {"AWS": role}}]})), "MalformedPolicyDocumentException")
    equal("a policy that is none", refused(kms.put_key_policy, KeyId=key["KeyId"], Policy="{}"), "MalformedPolicyDocumentException")


def deletion(cloud):
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/gone", TargetKeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    equal("seven days at least", refused(kms.schedule_key_deletion, KeyId=key, PendingWindowInDays=6), "ValidationException")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    equal("a key that is to go is good for nothing", refused(kms.decrypt, CiphertextBlob=blob), "KMSInvalidStateException")
    kms.cancel_key_deletion(KeyId=key)
    equal("and disabled when it stays", kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"], "Disabled")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    cloud.advance(7 * 86_400 + 1)
    equal("after seven days it is gone", refused(kms.describe_key, KeyId=key), "NotFoundException")
    equal("with its alias", refused(kms.describe_key, KeyId="alias/gone"), "NotFoundException")
    equal("and what it encrypted", refused(kms.decrypt, CiphertextBlob=blob), "NotFoundException")


def templates_of_keys(cloud):
    kms = cloud.client("kms")
    outputs = cloud.stack("keys", {
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"Description": "t", "PendingWindowInDays": 7, "Tags": [{"Key": "a", "Value": "b"}]}},
        "Alias": {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/template", "TargetKeyId": {"Ref": "Key"}}},
    }, {"Id": {"Ref": "Key"}, "Arn": {"Fn::GetAtt": ["Key", "Arn"]}})
    if outputs:
        equal("a template's key", kms.describe_key(KeyId="alias/template")["KeyMetadata"]["Arn"], outputs["Arn"])
        cloud.delete_stack("keys")
        equal("is to go with its stack", kms.describe_key(KeyId=outputs["Id"])["KeyMetadata"]["KeyState"], "PendingDeletion")


def parameters(cloud):
    ssm = cloud.client("ssm")
    put = ssm.put_parameter(Name="/app/name", Value="v", Type="String", Description="d", Tags=[{"Key": "a", "Value": "b"}])
    equal("PutParameter", (put["Version"], put["Tier"]), (1, "Standard"))
    found = ssm.get_parameter(Name="/app/name")["Parameter"]
    equal("GetParameter", (found["Name"], found["Type"], found["Value"], found["Version"], found["ARN"], found["DataType"]), ("/app/name", "String", "v", 1, cloud.arn("ssm", "parameter/app/name"), "text"))
    equal("by its ARN", ssm.get_parameter(Name=cloud.arn("ssm", "parameter/app/name"))["Parameter"]["Value"], "v")
    equal("once unless overwritten", refused(ssm.put_parameter, Name="/app/name", Value="w", Type="String"), "ParameterAlreadyExists")
    equal("no type", refused(ssm.put_parameter, Name="/app/other", Value="w"), "ValidationException")
    equal("tags and overwriting", refused(ssm.put_parameter, Name="/app/name", Value="w", Overwrite=True, Tags=[{"Key": "a", "Value": "b"}]), "ValidationException")
    for name in ("aws-x", "/ssm/x", "a/b", "/a//b", "a b"):
        equal(f"a parameter called {name}", refused(ssm.put_parameter, Name=name, Value="w", Type="String"), "ValidationException")
    equal("sixteen levels", refused(ssm.put_parameter, Name="/a" * 16, Value="w", Type="String"), "HierarchyLevelLimitExceededException")
    equal("more than 4 KiB", refused(ssm.put_parameter, Name="/big", Value="x" * 4097, Type="String"), "ValidationException")
    equal("in the advanced tier", ssm.put_parameter(Name="/big", Value="x" * 8192, Type="String", Tier="Advanced")["Tier"], "Advanced")
    equal("and not back", refused(ssm.put_parameter, Name="/big", Value="x", Overwrite=True), "ValidationException")
    equal("a pattern", refused(ssm.put_parameter, Name="/p", Value="x", Type="String", AllowedPattern="\\d+"), "ParameterPatternMismatchException")
    equal("a pattern that fits", ssm.put_parameter(Name="/p", Value="12", Type="String", AllowedPattern="\\d+")["Version"], 1)
    equal("a list", ssm.put_parameter(Name="/l", Value="a,b", Type="StringList")["Version"], 1)
    equal("policies are refused by name", refused(ssm.put_parameter, Name="/q", Value="x", Type="String", Tier="Advanced", Policies="[]"), "NotImplemented")
    equal("data types are refused by name", refused(ssm.put_parameter, Name="/q", Value="ami-1", Type="String", DataType="aws:ec2:image"), "NotImplemented")
    several = ssm.get_parameters(Names=["/app/name", "/none"])
    equal("GetParameters", ([p["Value"] for p in several["Parameters"]], several["InvalidParameters"]), (["v"], ["/none"]))
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="/app/name", Tags=[{"Key": "c", "Value": "d"}])
    ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId="/app/name", TagKeys=["a"])
    equal("tags of a parameter", ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/app/name")["TagList"], [{"Key": "c", "Value": "d"}])
    described = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Option": "BeginsWith", "Values": ["/app"]}])["Parameters"]
    equal("DescribeParameters", [(p["Name"], p["Description"], "Value" in p) for p in described], [("/app/name", "d", False)])
    equal("by tag", [p["Name"] for p in ssm.describe_parameters(ParameterFilters=[{"Key": "tag:c", "Values": ["d"]}])["Parameters"]], ["/app/name"])
    equal("by nothing known", refused(ssm.describe_parameters, ParameterFilters=[{"Key": "Color", "Values": ["d"]}]), "ValidationException")
    public = ssm.get_parameter(Name="/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64")["Parameter"]["Value"]
    check("AWS's own stay", public.startswith("ami-"), public)
    ssm.delete_parameter(Name="/l")
    equal("DeleteParameter twice", refused(ssm.delete_parameter, Name="/l"), "ParameterNotFound")
    deleted = ssm.delete_parameters(Names=["/p", "/l"])
    equal("DeleteParameters", (deleted["DeletedParameters"], deleted["InvalidParameters"]), (["/p"], ["/l"]))


def versions(cloud):
    ssm = cloud.client("ssm")
    for value in ("1", "2", "3"):
        ssm.put_parameter(Name="/v", Value=value, Type="String", Overwrite=True)
    equal("the newest version", ssm.get_parameter(Name="/v")["Parameter"]["Value"], "3")
    second = ssm.get_parameter(Name="/v:2")["Parameter"]
    equal("a version by its number", (second["Value"], second["Selector"]), ("2", ":2"))
    equal("a version that is not there", refused(ssm.get_parameter, Name="/v:9"), "ParameterVersionNotFound")
    labelled = ssm.label_parameter_version(Name="/v", ParameterVersion=1, Labels=["live", "1bad"])
    equal("labels", (labelled["ParameterVersion"], labelled["InvalidLabels"]), (1, ["1bad"]))
    equal("a version by its label", ssm.get_parameter(Name="/v:live")["Parameter"]["Value"], "1")
    ssm.label_parameter_version(Name="/v", Labels=["live"])
    equal("a label moves", ssm.get_parameter(Name="/v:live")["Parameter"]["Value"], "3")
    history = ssm.get_parameter_history(Name="/v")["Parameters"]
    equal("history", [(p["Version"], p["Value"], p["Labels"]) for p in history], [(1, "1", []), (2, "2", []), (3, "3", ["live"])])
    removed = ssm.unlabel_parameter_version(Name="/v", ParameterVersion=3, Labels=["live", "other"])
    equal("labels removed", (removed["RemovedLabels"], removed["InvalidLabels"]), (["live"], ["other"]))
    ssm.label_parameter_version(Name="/v", ParameterVersion=1, Labels=["keep"])
    for value in range(97):
        ssm.put_parameter(Name="/v", Value=str(value), Overwrite=True)
    equal("a labelled version is not pushed out", refused(ssm.put_parameter, Name="/v", Value="x", Overwrite=True), "ParameterMaxVersionLimitExceeded")
    ssm.unlabel_parameter_version(Name="/v", ParameterVersion=1, Labels=["keep"])
    equal("an unlabelled one is", ssm.put_parameter(Name="/v", Value="x", Overwrite=True)["Version"], 101)
    equal("a hundred versions are kept", refused(ssm.get_parameter, Name="/v:1"), "ParameterVersionNotFound")


def paths(cloud):
    ssm = cloud.client("ssm")
    for name in ("/tree/a", "/tree/b", "/tree/sub/c", "/treehouse"):
        ssm.put_parameter(Name=name, Value=name, Type="String")
    names = lambda **params: [p["Name"] for page in ssm.get_paginator("get_parameters_by_path").paginate(**params) for p in page["Parameters"]]
    equal("one level", names(Path="/tree"), ["/tree/a", "/tree/b"])
    equal("all levels, in pages", names(Path="/tree/", Recursive=True, PaginationConfig={"PageSize": 2}), ["/tree/a", "/tree/b", "/tree/sub/c"])
    equal("a path begins with a slash", refused(ssm.get_parameters_by_path, Path="tree"), "ValidationException")
    equal("filters of paths", names(Path="/tree", ParameterFilters=[{"Key": "Type", "Values": ["SecureString"]}]), [])
    role = cloud.role("parameter-reader", None, [{"Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:GetParametersByPath"], "Resource": [cloud.arn("ssm", "parameter/tree/a"), cloud.arn("ssm", "parameter/tree")]}])
    user = cloud.client("ssm", cloud.as_role(role))
    equal("a role reads what it may", user.get_parameter(Name="/tree/a")["Parameter"]["Value"], "/tree/a")
    equal("and nothing else", refused(user.get_parameter, Name="/tree/b"), "AccessDeniedException")
    equal("and its paths", len(user.get_parameters_by_path(Path="/tree")["Parameters"]), 2)


def secure(cloud):
    ssm, kms = cloud.client("ssm"), cloud.client("kms")
    ssm.put_parameter(Name="/secret", Value="hunter2", Type="SecureString")
    hidden = ssm.get_parameter(Name="/secret")["Parameter"]["Value"]
    equal("a secret is hidden", "hunter2" in hidden, False)
    equal("unless decrypted", ssm.get_parameter(Name="/secret", WithDecryption=True)["Parameter"]["Value"], "hunter2")
    equal("with AWS's key", (ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": ["/secret"]}])["Parameters"][0]["KeyId"], kms.describe_key(KeyId="alias/aws/ssm")["KeyMetadata"]["KeyManager"]), ("alias/aws/ssm", "AWS"))
    stored = b"".join(file.read_bytes() for file in cloud.embedded.state.glob("cloud.db*"))
    check("the store does not have it", b"hunter2" not in stored and hidden.encode() in stored)
    key = kms.create_key()["KeyMetadata"]
    ssm.put_parameter(Name="/own", Value="s3cret", Type="SecureString", KeyId=key["KeyId"])
    equal("a key of one's own", ssm.get_parameter(Name="/own", WithDecryption=True)["Parameter"]["Value"], "s3cret")
    role = cloud.role("secret-reader", None, [{"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "*"}])
    user = cloud.client("ssm", cloud.as_role(role))
    equal("a role needs the key as well", refused(user.get_parameter, Name="/own", WithDecryption=True), "AccessDeniedException")
    equal("not to see that it is there", refused(user.get_parameter, Name="/own")[:9], "answered:")
    equal("AWS's key everybody in the account may use through the service", user.get_parameter(Name="/secret", WithDecryption=True)["Parameter"]["Value"], "hunter2")
    equal("but not directly", refused(cloud.client("kms", cloud.as_role(role)).encrypt, KeyId="alias/aws/ssm", Plaintext=b"x"), "AccessDeniedException")
    equal("a key that is not there", refused(ssm.put_parameter, Name="/x", Value="x", Type="SecureString", KeyId="alias/none"), "InvalidKeyId")
    kms.disable_key(KeyId=key["KeyId"])
    equal("a disabled key", refused(ssm.get_parameter, Name="/own", WithDecryption=True), "InvalidKeyId")
    cloud.crash()
    equal("after a crash secrets are there", cloud.client("ssm").get_parameter(Name="/secret", WithDecryption=True)["Parameter"]["Value"], "hunter2")


def templates_of_parameters(cloud):
    ssm = cloud.client("ssm")
    resource = lambda value: {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/template/p", "Type": "String", "Value": value, "Tags": {"a": "b"}}}}
    if cloud.stack("parameters", resource("1"), {"Name": {"Ref": "P"}, "Value": {"Fn::GetAtt": ["P", "Value"]}}):
        cloud.stack("parameters", resource("2"))
        equal("a template's parameter", ssm.get_parameter(Name="/template/p")["Parameter"]["Value"], "2")
        cloud.delete_stack("parameters")
        equal("goes with its stack", refused(ssm.get_parameter, Name="/template/p"), "ParameterNotFound")
