"""S3 of the embedded cloud against clients of others: options by boto3, tools, data libraries."""

import base64
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from clients_s3_more import More
from support import Checkout

BUCKET = "clients-s3"
FULL = 5 * 1024 * 1024
PASSED, FAILED = [], []


def check(name, holds, seen=""):
    (PASSED if holds else FAILED).append(name)
    print(f"{'ok    ' if holds else 'FAILED'} {name}{'' if holds else f': {str(seen)[:500]}'}")


def code_of(call):
    """Code of the error that a call ends in; the answer when it ends in none."""
    try:
        return call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return str(error.response["ResponseMetadata"]["HTTPStatusCode"]) if not code else code


class Options:
    """Options of requests: each is done or refused by name, none is dropped."""

    def __init__(self, session, endpoint):
        self.session, self.endpoint = session, endpoint
        self.s3 = self.client()
        self.s3.create_bucket(Bucket=BUCKET)
        self.tag = self.put()["ETag"]
        self.before = "Wed, 01 Jan 2020 00:00:00 GMT"
        self.after = "Fri, 01 Jan 2100 00:00:00 GMT"

    def client(self, **more):
        config = Config(retries={"max_attempts": 0}, **more)
        return self.session.client("s3", endpoint_url=self.endpoint, config=config)

    def put(self, key="o", body=b"hello", **more):
        return self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)

    def get(self, key="o", **more):
        return self.s3.get_object(Bucket=BUCKET, Key=key, **more)

    def head(self, key="o", **more):
        return self.s3.head_object(Bucket=BUCKET, Key=key, **more)

    def copy(self, key="c", **more):
        source = {"Bucket": BUCKET, "Key": "o"}
        return self.s3.copy_object(Bucket=BUCKET, Key=key, CopySource=source, **more)

    def upload(self, key="m", sizes=(9,), create=None, complete=None, change=lambda parts: parts):
        algorithm = {k: v for k, v in (create or {}).items() if k == "ChecksumAlgorithm"}
        place = {"Bucket": BUCKET, "Key": key}
        begun = self.s3.create_multipart_upload(**place, **(create or {}))
        place["UploadId"] = begun["UploadId"]
        parts = []
        for number, size in enumerate(sizes, 1):
            body = b"x" * size
            sent = self.s3.upload_part(**place, **algorithm, PartNumber=number, Body=body)
            sums = {k: v for k, v in sent.items() if k.startswith("Checksum")}
            parts.append({"PartNumber": number, "ETag": sent["ETag"]} | sums)
        listed = {"Parts": change(parts)}
        return self.s3.complete_multipart_upload(
            **place, MultipartUpload=listed, **(complete or {})
        )

    def refused(self, name, expected, call):
        seen = code_of(call)
        check(f"refused: {name}", seen == expected, f"{seen} instead of {expected}")

    def done(self, name, call, expected):
        seen = code_of(call)
        check(f"done: {name}", seen == expected, f"{seen} instead of {expected}")

    def run(self):
        for group in (
            self.headers, self.refusals, self.conditions, self.checksums, self.copies,
            self.multipart, self.lists, self.versions, self.buckets, self.tags, self.addresses,
        ):
            group()
        for item in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            self.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
        self.s3.delete_bucket(Bucket=BUCKET)

    def headers(self):
        kept = {
            "CacheControl": "max-age=60", "ContentEncoding": "gzip", "ContentLanguage": "kk",
            "ContentDisposition": "attachment", "ContentType": "text/csv",
        }
        self.put("h", **kept, Expires="Fri, 01 Jan 2100 00:00:00 GMT", Metadata={"a": "1"})
        head = self.head("h")
        for name, value in kept.items():
            self.done(name, lambda: head.get(name), value)
        self.done("Expires", lambda: head["Expires"].year, 2100)
        self.done("user metadata", lambda: head["Metadata"], {"a": "1"})
        self.refused("metadata above 2 KB", "MetadataTooLarge",
                     lambda: self.put("h", Metadata={"a": "x" * 2100}))
        self.done("StorageClass STANDARD", lambda: "ETag" in self.put(StorageClass="STANDARD"), True)
        self.done("ServerSideEncryption AES256",
                  lambda: self.put(ServerSideEncryption="AES256")["ServerSideEncryption"], "AES256")
        self.done("ACL private", lambda: "ETag" in self.put(ACL="private"), True)
        owner = "bucket-owner-full-control"
        self.done(f"ACL {owner}", lambda: "ETag" in self.put(ACL=owner), True)
        response = self.get(ResponseContentType="a/b", ResponseCacheControl="no-store")
        self.done("response headers of a GET", lambda: (response["ContentType"],
                  response["CacheControl"]), ("a/b", "no-store"))
        self.done("content type when none was given", lambda: self.head()["ContentType"],
                  "binary/octet-stream")

    def refusals(self):
        key = base64.b64encode(b"k" * 32).decode()
        sse = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
        for name, more in {
            "StorageClass": {"StorageClass": "GLACIER"},
            "WebsiteRedirectLocation": {"WebsiteRedirectLocation": "/x"},
            "SSE-C": sse,
            "SSE-KMS": {"ServerSideEncryption": "aws:kms"},
            "SSEKMSKeyId": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key},
            "BucketKeyEnabled": {"BucketKeyEnabled": True},
            "ObjectLockLegalHoldStatus": {"ObjectLockLegalHoldStatus": "ON"},
            "ObjectLockMode": {"ObjectLockMode": "GOVERNANCE",
                               "ObjectLockRetainUntilDate": "2100-01-01T00:00:00Z"},
            "WriteOffsetBytes": {"WriteOffsetBytes": 5},
        }.items():
            self.refused(f"{name} of PutObject", "NotImplemented", lambda: self.put("r", **more))
        self.refused("SSE-C of GetObject", "NotImplemented", lambda: self.get(**sse))
        self.refused("SSE-C of CreateMultipartUpload", "NotImplemented",
                     lambda: self.upload("r", create=sse))
        self.refused("an unknown StorageClass", "InvalidStorageClass",
                     lambda: self.put("r", StorageClass="NONE"))
        acl = "AccessControlListNotSupported"
        self.refused("ACL public-read", acl, lambda: self.put("r", ACL="public-read"))
        self.refused("GrantRead", acl, lambda: self.put("r", GrantRead="id=x"))
        self.refused("ACL of CopyObject", acl, lambda: self.copy("r", ACL="public-read"))
        self.refused("ACL of CreateMultipartUpload", acl,
                     lambda: self.upload("r", create={"ACL": "public-read"}))
        self.refused("MFA of DeleteObject", "NotImplemented",
                     lambda: self.s3.delete_object(Bucket=BUCKET, Key="o", MFA="x 1"))
        self.refused("select", "NotImplemented", lambda: self.s3.select_object_content(
            Bucket=BUCKET, Key="o", Expression="SELECT 1", ExpressionType="SQL",
            InputSerialization={"CSV": {}}, OutputSerialization={"CSV": {}}))
        self.done("refused uploads leave nothing", lambda: code_of(lambda: self.head("r")), "404")
        for other in ("111111111111", "000000000000"):
            expected = "AccessDenied" if other.startswith("1") else "hello"
            self.done(f"ExpectedBucketOwner {other} of GetObject", lambda: code_of(
                lambda: self.get(ExpectedBucketOwner=other)["Body"].read().decode()), expected)
        self.refused("ExpectedBucketOwner of PutObject", "AccessDenied",
                     lambda: self.put(ExpectedBucketOwner="111111111111"))
        self.refused("ExpectedBucketOwner of HeadBucket", "403", lambda: self.s3.head_bucket(
            Bucket=BUCKET, ExpectedBucketOwner="111111111111"))
        self.refused("ExpectedSourceBucketOwner", "AccessDenied",
                     lambda: self.copy(ExpectedSourceBucketOwner="111111111111"))

    def conditions(self):
        wrong, failed = '"0123"', "PreconditionFailed"
        self.refused("If-Match of GetObject", failed, lambda: self.get(IfMatch=wrong))
        self.refused("If-Match of HeadObject", "412", lambda: self.head(IfMatch=wrong))
        self.refused("If-None-Match of GetObject", "304", lambda: self.get(IfNoneMatch=self.tag))
        self.refused("If-Modified-Since", "304", lambda: self.get(IfModifiedSince=self.after))
        self.refused("If-Unmodified-Since", failed,
                     lambda: self.get(IfUnmodifiedSince=self.before))
        self.done("If-Match outweighs If-Unmodified-Since", lambda: "ETag" in self.get(
            IfMatch=self.tag, IfUnmodifiedSince=self.before), True)
        self.refused("If-None-Match of PutObject", failed, lambda: self.put(IfNoneMatch="*"))
        self.refused("If-None-Match with an ETag", "NotImplemented",
                     lambda: self.put(IfNoneMatch=wrong))
        self.refused("If-Match of PutObject", failed, lambda: self.put(IfMatch=wrong))
        self.refused("If-Match of a new key", "NoSuchKey",
                     lambda: self.put("new", IfMatch=self.tag))
        self.done("If-Match that holds", lambda: self.put(IfMatch=self.tag)["ETag"], self.tag)
        self.refused("If-Match of DeleteObject", failed, lambda: self.s3.delete_object(
            Bucket=BUCKET, Key="o", IfMatch=wrong))
        self.refused("If-None-Match of CompleteMultipartUpload", failed,
                     lambda: self.upload("o", complete={"IfNoneMatch": "*"}))
        self.refused("If-Match of CompleteMultipartUpload", failed,
                     lambda: self.upload("o", complete={"IfMatch": wrong}))
        self.refused("CopySourceIfMatch", failed, lambda: self.copy(CopySourceIfMatch=wrong))
        self.refused("CopySourceIfNoneMatch", failed,
                     lambda: self.copy(CopySourceIfNoneMatch=self.tag))
        self.refused("CopySourceIfModifiedSince", failed,
                     lambda: self.copy(CopySourceIfModifiedSince=self.after))
        self.refused("CopySourceIfUnmodifiedSince", failed,
                     lambda: self.copy(CopySourceIfUnmodifiedSince=self.before))
        self.put("old", b"old")
        self.refused("If-None-Match of CopyObject", failed,
                     lambda: self.copy("old", IfNoneMatch="*"))
        self.done("nothing was deleted", lambda: self.get()["Body"].read(), b"hello")
        wins, clients = [], [self.client() for _ in range(8)]
        start = threading.Barrier(len(clients))

        def write(client):
            start.wait()
            body = b"x" * 200_000
            seen = code_of(lambda: client.put_object(
                Bucket=BUCKET, Key="race", Body=body, IfNoneMatch="*"))
            wins.append(isinstance(seen, dict))

        threads = [threading.Thread(target=write, args=(c,)) for c in clients]
        [t.start() for t in threads]
        [t.join() for t in threads]
        check("one of eight writers creates a key", wins.count(True) == 1, wins)

    def checksums(self):
        body = b"hello"
        sha = base64.b64encode(hashlib.sha256(body).digest()).decode()
        self.put("s", body, ChecksumSHA256=sha)
        self.done("ChecksumMode", lambda: self.head("s", ChecksumMode="ENABLED")["ChecksumSHA256"],
                  sha)
        for name in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
            length = {"SHA1": 20, "SHA256": 32, "CRC64NVME": 8}.get(name, 4)
            wrong = base64.b64encode(b"\1" * length).decode()
            self.refused(f"a wrong {name}", "BadDigest",
                         lambda: self.put("w", **{f"Checksum{name}": wrong}))
        self.refused("a wrong Content-MD5", "BadDigest",
                     lambda: self.put("w", ContentMD5=base64.b64encode(b"1" * 16).decode()))
        self.refused("a Content-MD5 that is none", "InvalidDigest",
                     lambda: self.put("w", ContentMD5="x"))
        attributes = self.s3.get_object_attributes(
            Bucket=BUCKET, Key="s", ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
        self.done("GetObjectAttributes", lambda: (attributes["Checksum"]["ChecksumSHA256"],
                  attributes["ObjectSize"]), (sha, 5))
        quiet = self.client(request_checksum_calculation="when_required")
        own = quiet.put_object(Bucket=BUCKET, Key="q", Body=body)
        # CRC-64/NVME of `hello`.
        self.done("S3's own checksum", lambda: own["ChecksumCRC64NVME"], "M3eFcAZSQlc=")

    def copies(self):
        self.put(Metadata={"a": "1"}, CacheControl="no-store")
        self.copy()
        self.done("metadata of a copy", lambda: self.head("c")["Metadata"], {"a": "1"})
        self.copy(MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="a/b")
        head = self.head("c")
        self.done("MetadataDirective REPLACE", lambda: (head["Metadata"], head["ContentType"],
                  head.get("CacheControl")), ({"b": "2"}, "a/b", None))
        self.refused("a copy to itself", "InvalidRequest", lambda: self.copy("o"))
        self.refused("a copy of nothing", "NoSuchKey", lambda: self.s3.copy_object(
            Bucket=BUCKET, Key="c", CopySource=f"{BUCKET}/none"))

    def multipart(self):
        self.refused("a wrong part ETag", "InvalidPart", lambda: self.upload(
            change=lambda parts: [parts[0] | {"ETag": '"0"'}]))
        self.refused("parts out of order", "InvalidPartOrder",
                     lambda: self.upload(sizes=(FULL, 9), change=lambda parts: parts[::-1]))
        self.refused("a part that is too small", "EntityTooSmall",
                     lambda: self.upload(sizes=(9, 9)))
        self.refused("no parts", "MalformedXML", lambda: self.upload(change=lambda _: []))
        self.refused("a wrong MpuObjectSize", "InvalidRequest",
                     lambda: self.upload(complete={"MpuObjectSize": 1}))
        done = self.upload("two", sizes=(FULL, 9), create={"ChecksumAlgorithm": "SHA256"})
        self.done("a composite checksum", lambda: (done["ChecksumType"],
                  done["ChecksumSHA256"][-2:]), ("COMPOSITE", "-2"))
        self.done("a part of an object", lambda: (self.get("two", PartNumber=2)["ContentLength"],
                  self.head("two", PartNumber=1)["PartsCount"]), (9, 2))
        place = {"Bucket": BUCKET, "Key": "u"}
        begun = self.s3.create_multipart_upload(**place)["UploadId"]
        sent = self.s3.upload_part(**place, UploadId=begun, PartNumber=1, Body=b"x" * 10)
        parts = self.s3.list_parts(**place, UploadId=begun)["Parts"]
        self.done("ListParts", lambda: [p["Size"] for p in parts], [10])
        found = self.s3.list_multipart_uploads(Bucket=BUCKET, Prefix="u")["Uploads"]
        self.done("ListMultipartUploads", lambda: [u["UploadId"] for u in found], [begun])
        other = {"Bucket": BUCKET, "Key": "other", "UploadId": begun}
        self.refused("an upload under another key", "NoSuchUpload", lambda: self.s3.upload_part(
            **other, PartNumber=1, Body=b"x"))
        self.refused("its end under another key", "NoSuchUpload",
                     lambda: self.s3.abort_multipart_upload(**other))
        listed = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"]}]}
        complete = lambda: self.s3.complete_multipart_upload(
            **place, UploadId=begun, MultipartUpload=listed)["ETag"]
        first = complete()
        self.done("a completion that is repeated", complete, first)
        again = self.s3.create_multipart_upload(**place)["UploadId"]
        self.s3.upload_part_copy(**place, UploadId=again, PartNumber=1, CopySourceRange="bytes=1-3",
                                 CopySource=f"{BUCKET}/o")
        parts = self.s3.list_parts(**place, UploadId=again)["Parts"]
        self.done("UploadPartCopy of a range", lambda: parts[0]["Size"], 3)
        self.s3.abort_multipart_upload(**place, UploadId=again)
        self.refused("an upload that was aborted", "NoSuchUpload",
                     lambda: self.s3.list_parts(**place, UploadId=again))

    def lists(self):
        keys = ["l/a b+é", "l/b/1", "l/b/2", "l/c"]
        for key in keys:
            self.put(key)
        v2 = lambda **more: self.s3.list_objects_v2(Bucket=BUCKET, Prefix="l/", **more)
        self.done("an empty delimiter", lambda: v2(Delimiter="")["KeyCount"], 4)
        self.done("a name with + and é", lambda: v2()["Contents"][0]["Key"], keys[0])
        self.done("FetchOwner", lambda: len(v2(FetchOwner=True)["Contents"][0]["Owner"]["ID"]), 64)
        self.done("StartAfter", lambda: (v2(StartAfter="l/b/1")["StartAfter"],
                  v2(StartAfter="l/b/1")["KeyCount"]), ("l/b/1", 2))
        self.done("MaxKeys 0", lambda: (v2(MaxKeys=0)["KeyCount"], v2(MaxKeys=0)["IsTruncated"]),
                  (0, False))
        self.refused("a token that is none", "InvalidArgument",
                     lambda: v2(ContinuationToken="none"))
        v1 = lambda **more: self.s3.list_objects(Bucket=BUCKET, Prefix="l/", **more)
        page = v1(Delimiter="/", MaxKeys=2)
        self.done("NextMarker", lambda: page["NextMarker"], "l/b/")
        rest = v1(Delimiter="/", Marker=page["NextMarker"])
        self.done("Marker", lambda: (rest["Marker"], [o["Key"] for o in rest["Contents"]],
                  rest.get("CommonPrefixes")), ("l/b/", ["l/c"], None))
        control = "l/\x01\r\n"
        self.put(control)
        self.done("control characters", lambda: control in [o["Key"] for o in v2()["Contents"]],
                  True)
        deleted = self.s3.delete_objects(Bucket=BUCKET, Delete={
            "Objects": [{"Key": k} for k in keys]})
        self.done("DeleteObjects", lambda: len(deleted["Deleted"]), 4)
        self.s3.delete_object(Bucket=BUCKET, Key=control)
        self.refused("1,001 keys in one DeleteObjects", "MalformedXML",
                     lambda: self.s3.delete_objects(Bucket=BUCKET, Delete={
                         "Objects": [{"Key": str(k)} for k in range(1001)]}))

    def versions(self):
        self.done("VersionId null", lambda: self.get(VersionId="null")["ContentLength"], 5)
        self.refused("an unknown VersionId", "NoSuchVersion", lambda: self.get(VersionId="v" * 32))
        self.refused("a VersionId that is none", "InvalidArgument",
                     lambda: self.s3.delete_object(Bucket=BUCKET, Key="o", VersionId="x"))
        versions = self.s3.list_object_versions(Bucket=BUCKET, Prefix="o")["Versions"]
        self.done("ListObjectVersions", lambda: (versions[0]["VersionId"], versions[0]["IsLatest"]),
                  ("null", True))
        self.done("GetBucketVersioning", lambda: "Status" in self.s3.get_bucket_versioning(
            Bucket=BUCKET), False)

    def buckets(self):
        s3, bucket = self.s3, {"Bucket": BUCKET}
        self.refused("another LocationConstraint", "IllegalLocationConstraintException",
                     lambda: s3.create_bucket(Bucket="clients-s3-eu", CreateBucketConfiguration={
                         "LocationConstraint": "eu-west-1"}))
        self.refused("ObjectLockEnabledForBucket", "NotImplemented", lambda: s3.create_bucket(
            Bucket="clients-s3-lock", ObjectLockEnabledForBucket=True))
        self.refused("a reserved name", "InvalidBucketName",
                     lambda: s3.create_bucket(Bucket="sthree-x"))
        self.done("Prefix of ListBuckets", lambda: len(s3.list_buckets(
            Prefix="clients-s3")["Buckets"]), 1)
        self.done("MaxBuckets", lambda: len(s3.list_buckets(MaxBuckets=1)["Buckets"]), 1)
        self.done("GetBucketAcl", lambda: s3.get_bucket_acl(**bucket)["Grants"][0]["Permission"],
                  "FULL_CONTROL")
        self.done("GetBucketEncryption", lambda: s3.get_bucket_encryption(**bucket)[
            "ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"],
            {"SSEAlgorithm": "AES256"})
        self.refused("GetBucketCors", "NoSuchCORSConfiguration", lambda: s3.get_bucket_cors(**bucket))
        self.refused("GetBucketWebsite", "NoSuchWebsiteConfiguration",
                     lambda: s3.get_bucket_website(**bucket))
        self.refused("GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration",
                     lambda: s3.get_bucket_lifecycle_configuration(**bucket))
        rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}}
        put = lambda rule: s3.put_bucket_lifecycle_configuration(
            **bucket, LifecycleConfiguration={"Rules": [rule]})
        put(rule)
        self.done("a lifecycle rule", lambda: s3.get_bucket_lifecycle_configuration(
            **bucket)["Rules"], [rule])
        self.refused("transitions", "NotImplemented", lambda: put(
            rule | {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}))
        self.refused("GetBucketPolicyStatus", "NoSuchBucketPolicy",
                     lambda: s3.get_bucket_policy_status(**bucket))
        self.done("GetPublicAccessBlock", lambda: set(s3.get_public_access_block(**bucket)[
            "PublicAccessBlockConfiguration"].values()), {True})
        opened = json.dumps({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{BUCKET}/*"}]})
        self.refused("a public policy", "AccessDenied",
                     lambda: s3.put_bucket_policy(**bucket, Policy=opened))
        self.done("GetBucketNotificationConfiguration", lambda: "EventBridgeConfiguration" in
                  s3.get_bucket_notification_configuration(**bucket), False)
        self.refused("DeleteBucketPolicy of another owner", "AccessDenied",
                     lambda: s3.delete_bucket_policy(**bucket, ExpectedBucketOwner="1" * 12))
        self.refused("CORS", "NotImplemented", lambda: s3.put_bucket_cors(
            **bucket, CORSConfiguration={"CORSRules": [
                {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}))

    def tags(self):
        self.put("t", Tagging="a=1&b=2")
        get = lambda: {t["Key"]: t["Value"] for t in self.s3.get_object_tagging(
            Bucket=BUCKET, Key="t")["TagSet"]}
        self.done("Tagging", get, {"a": "1", "b": "2"})
        self.done("TagCount", lambda: self.get("t")["TagCount"], 2)
        self.s3.put_object_tagging(Bucket=BUCKET, Key="t", Tagging={
            "TagSet": [{"Key": "c", "Value": "3"}]})
        self.done("PutObjectTagging", get, {"c": "3"})
        self.refused("eleven tags", "BadRequest", lambda: self.put(
            "t", Tagging="&".join(f"k{i}=v" for i in range(11))))

    def addresses(self):
        """Addresses in URLs: of signatures, of buckets in the host's name."""
        second = self.client(signature_version="s3")
        url = second.generate_presigned_url("head_bucket", {"Bucket": BUCKET})
        words = fetch(url, method="GET")[1]
        check("refused: Signature Version 2", "use AWS4-HMAC-SHA256" in words, words)
        url = self.client(signature_version="s3v4").generate_presigned_url(
            "get_object", {"Bucket": BUCKET, "Key": "o"})
        check("done: a presigned URL", fetch(url) == (200, "hello"), fetch(url))
        port = self.endpoint.rsplit(":", 1)[1]
        hosted = self.session.client("s3", endpoint_url=f"http://localhost:{port}",
                                     config=Config(signature_version="s3v4",
                                                   s3={"addressing_style": "virtual"}))
        url = hosted.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "o"})
        host = f"{BUCKET}.localhost:{port}"
        path = url.split(host, 1)[-1]
        seen = fetch(self.endpoint + path, headers={"Host": host})
        check("done: a bucket in the host's name", seen == (200, "hello"), (url, seen))
        seen = fetch(self.endpoint + "/", headers={"Host": "bucket.example.org"})
        check("refused: another host", seen[0] in (400, 403, 421), seen)


def fetch(url, method="GET", headers=None):
    request = urllib.request.Request(url, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Tools:
    """Programs that others wrote, in a folder of their own."""

    def __init__(self, environment, folder):
        self.folder = folder
        self.host = environment["AWS_ENDPOINT_URL"].removeprefix("http://")
        # The command presigns with version 2 unless it is told not to.
        settings = folder / "aws-config"
        settings.write_text("[default]\ns3 =\n  signature_version = s3v4\n")
        self.environment = environment | {"AWS_CONFIG_FILE": str(settings)}
        self.large = folder / "large"
        self.large.write_bytes(bytes(range(256)) * 80_000)
        (folder / "tree" / "b").mkdir(parents=True)
        for name in ("a", "b/c d", "b/e+f"):
            (folder / "tree" / name).write_text(name)

    def run(self, *command, text=None):
        done = subprocess.run(
            [str(c) for c in command], env=self.environment, capture_output=True, text=True,
            input=text)
        return done.stdout if done.returncode == 0 else f"error {done.returncode}: {done.stderr}"

    def aws(self, *arguments, text=None):
        program = pathlib.Path(sys.executable).with_name("aws")
        return self.run(program, "s3", *arguments, text=text)

    def same(self, one, other):
        files = lambda root: {
            p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        return files(one) == files(other)

    def with_aws(self):
        place, back = "s3://clients-tools", self.folder / "back"
        check("aws s3 mb", "make_bucket" in (seen := self.aws("mb", place)), seen)
        self.aws("cp", self.large, f"{place}/large")
        self.aws("cp", f"{place}/large", f"{place}/copy")
        self.aws("cp", f"{place}/copy", back)
        same = back.exists() and back.read_bytes() == self.large.read_bytes()
        check("aws s3 cp, in parts, copied in parts, and back", same)
        seen = self.aws("sync", self.folder / "tree", f"{place}/tree")
        self.aws("sync", f"{place}/tree", self.folder / "synced")
        check("aws s3 sync", self.same(self.folder / "tree", self.folder / "synced"), seen)
        again = self.aws("sync", self.folder / "tree", f"{place}/tree")
        check("aws s3 sync has nothing to do again", again == "", again)
        seen = self.aws("mv", f"{place}/tree/a", f"{place}/moved")
        check("aws s3 mv", "moved" in self.aws("ls", place), seen)
        self.aws("cp", "-", f"{place}/pipe", text="piped")
        seen = self.aws("cp", f"{place}/pipe", "-")
        check("aws s3 cp from and to a pipe", seen == "piped", seen)
        seen = fetch(self.aws("presign", f"{place}/pipe").strip())
        check("aws s3 presign", seen == (200, "piped"), seen)
        seen = self.aws("ls", place, "--recursive", "--summarize")
        check("aws s3 ls --recursive", "Total Objects: 6" in seen, seen)
        seen = self.aws("rm", place, "--recursive")
        check("aws s3 rm --recursive", self.aws("ls", place) == "", seen)
        check("aws s3 rb", "remove_bucket" in (seen := self.aws("rb", place)), seen)

    def with_s3cmd(self):
        settings = self.folder / "s3cfg"
        settings.write_text(
            "[default]\n"
            f"access_key = {self.environment['AWS_ACCESS_KEY_ID']}\n"
            f"secret_key = {self.environment['AWS_SECRET_ACCESS_KEY']}\n"
            f"host_base = {self.host}\nhost_bucket = {self.host}\nuse_https = False\n"
            "multipart_chunk_size_mb = 5\n")
        s3cmd = lambda *arguments: self.run("s3cmd", "-c", settings, *arguments)
        place, back = "s3://clients-s3cmd", self.folder / "s3cmd-back"
        check("s3cmd mb", "created" in (seen := s3cmd("mb", place)), seen)
        seen = s3cmd("put", self.large, f"{place}/large")
        s3cmd("get", f"{place}/large", back)
        check("s3cmd put and get, in parts", back.exists() and
              back.read_bytes() == self.large.read_bytes(), seen)
        seen = s3cmd("sync", f"{self.folder}/tree/", f"{place}/tree/")
        s3cmd("sync", f"{place}/tree/", f"{self.folder}/s3cmd-synced/")
        check("s3cmd sync", self.same(self.folder / "tree", self.folder / "s3cmd-synced"), seen)
        seen = s3cmd("cp", f"{place}/tree/a", f"{place}/copy")
        check("s3cmd cp", "copy" in s3cmd("ls", place), seen)
        check("s3cmd info", "MD5" in (seen := s3cmd("info", f"{place}/copy")), seen)
        seen = s3cmd("del", "--recursive", "--force", place)
        check("s3cmd del", s3cmd("ls", place) == "", seen)
        check("s3cmd rb", "removed" in (seen := s3cmd("rb", place)), seen)

    def with_rclone(self):
        settings = self.folder / "rclone.conf"
        settings.write_text(
            "[s]\ntype = s3\nprovider = Other\nenv_auth = true\nregion = us-east-1\n"
            f"endpoint = http://{self.host}\nchunk_size = 5Mi\nupload_cutoff = 5Mi\n")
        rclone = lambda *arguments: self.run("rclone", "--config", settings, *arguments)
        place = "s:clients-rclone"
        seen = rclone("mkdir", place)
        check("rclone mkdir", "clients-rclone" in rclone("lsd", "s:"), seen)
        seen = rclone("copy", self.folder / "tree", f"{place}/tree")
        rclone("copy", f"{place}/tree", self.folder / "rcloned")
        check("rclone copy", self.same(self.folder / "tree", self.folder / "rcloned"), seen)
        seen = rclone("copyto", self.large, f"{place}/large")
        check("rclone check, in parts", not rclone(
            "check", "--one-way", self.folder, place, "--include", "/large").startswith("error"),
            seen)
        seen = rclone("lsl", place)
        check("rclone lsl", len(seen.splitlines()) == 4, seen)
        seen = rclone("lsf", "-R", place)
        check("rclone lsf -R", "tree/b/e+f" in seen, seen)
        seen = rclone("moveto", f"{place}/large", f"{place}/moved")
        check("rclone moveto", "moved" in rclone("lsf", place), seen)
        seen = rclone("purge", place)
        check("rclone purge", "clients-rclone" not in rclone("lsd", "s:"), seen)


def with_data_libraries(environment):
    import pandas
    import polars
    import s3fs

    key, secret = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    endpoint = environment["AWS_ENDPOINT_URL"]
    options = {"key": key, "secret": secret, "client_kwargs": {"endpoint_url": endpoint}}
    files = s3fs.S3FileSystem(**options)
    files.mkdir("clients-data")
    frame = pandas.DataFrame({"region": ["a", "a", "b"], "value": [1, 2, 3]})
    frame.to_parquet("s3://clients-data/t", partition_cols=["region"], storage_options=options)
    back = pandas.read_parquet("s3://clients-data/t", storage_options=options)
    check("pandas partitioned parquet", sorted(back["value"]) == [1, 2, 3], back)
    found = files.glob("clients-data/**/*.parquet")
    check("s3fs glob", len(found) == 2, found)
    check("s3fs find", files.find("clients-data") == sorted(found), files.find("clients-data"))
    with files.open("clients-data/big", "wb", block_size=FULL) as out:
        out.write(b"x" * (2 * FULL + 1))
    check("s3fs in parts", files.info("clients-data/big")["size"] == 2 * FULL + 1)
    frame.to_csv("s3://clients-data/t.csv", index=False, storage_options=options)
    table = {"aws_access_key_id": key, "aws_secret_access_key": secret,
             "aws_endpoint_url": endpoint, "aws_region": "us-east-1", "aws_allow_http": "true"}
    seen = polars.scan_csv("s3://clients-data/t.csv", storage_options=table).collect()
    check("polars scan_csv", seen["value"].sum() == 6, seen)
    polars.DataFrame({"v": [1, 2]}).write_parquet("s3://clients-data/p.parquet",
                                                  storage_options=table)
    seen = polars.scan_parquet("s3://clients-data/p.parquet", storage_options=table).collect()
    check("polars parquet there and back", seen["v"].to_list() == [1, 2], seen)
    files.rm("clients-data", recursive=True)
    check("s3fs rm", not files.exists("clients-data"))


def with_s3(environment, state):
    session = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"])
    Options(session, environment["AWS_ENDPOINT_URL"]).run()
    More(session, environment["AWS_ENDPOINT_URL"], state, check).run()
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(environment, pathlib.Path(folder))
        tools.with_aws()
        for name, run in (("s3cmd", tools.with_s3cmd), ("rclone", tools.with_rclone)):
            check(f"{name} is installed (apt-get install {name})", shutil.which(name) is not None)
            if shutil.which(name):
                run()
    with_data_libraries(environment)


def main():
    with Checkout() as checkout:
        checkout.run("local", "start")
        with_s3(checkout.aws_environment(), checkout.folder / "local")
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()
