"""S3 of the embedded cloud by boto3: versions, lifecycle rules, notifications, forms, the rest of objects' options.

Time passes by the cloud's own clock; nothing here sleeps longer than a poll.
"""

import base64
import datetime
import email.utils
import json
import pathlib
import time
import urllib.error
import urllib.request

from botocore.config import Config
from botocore.exceptions import ClientError

FULL = 5 * 1024 * 1024


def code_of(call):
    """Code of the error that a call ends in; its answer when it ends in none."""
    try:
        return call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return code or str(error.response["ResponseMetadata"]["HTTPStatusCode"])


def headers_of(call):
    try:
        return call()["ResponseMetadata"]["HTTPHeaders"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPHeaders"]


class More:
    """`check(name, holds, seen)` is told of each check; `state` is the cloud's folder."""

    def __init__(self, session, endpoint, state, check):
        self.session, self.endpoint, self.state, self.check = session, endpoint, state, check
        config = Config(retries={"max_attempts": 0}, signature_version="s3v4")
        self.s3 = session.client("s3", endpoint_url=endpoint, config=config)
        self.buckets = []

    def same(self, name, seen, expected):
        self.check(name, seen == expected, f"{seen} instead of {expected}")

    def bucket(self, name, versioning=None):
        self.s3.create_bucket(Bucket=name)
        self.buckets.append(name)
        if versioning:
            self.version(name, versioning)
        return name

    def version(self, bucket, status):
        self.s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": status})

    def put(self, bucket, key="k", body=b"", **more):
        return self.s3.put_object(Bucket=bucket, Key=key, Body=body, **more)

    def body(self, bucket, key="k", **more):
        return self.s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()

    def listed(self, bucket, **more):
        """(key, version, latest, marker) of every version, by pages of one."""
        found, place = [], {}
        while True:
            page = self.s3.list_object_versions(Bucket=bucket, MaxKeys=1, **more, **place)
            for member, marker in (("Versions", False), ("DeleteMarkers", True)):
                found += [(v["Key"], v["VersionId"], v["IsLatest"], marker)
                          for v in page.get(member, [])]
            if not page["IsTruncated"]:
                return found
            place = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                place["VersionIdMarker"] = page["NextVersionIdMarker"]

    def raw(self, method, path, headers):
        """A request as no client of boto3 sends it; status and code of the error."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method, self.endpoint + path, headers=headers)
        S3SigV4Auth(self.session.get_credentials(), "s3", self.session.region_name).add_auth(request)
        sent = urllib.request.Request(
            self.endpoint + path, method=method, headers=dict(request.headers))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(sent) as answer:
                return answer.status, None
        except urllib.error.HTTPError as error:
            body = error.read().decode()
            self.check("errors name their request", "<RequestId>" in body and "<HostId>" in body, body)
            return error.code, body.split("<Code>")[1].split("<")[0]

    def empty(self, bucket):
        for key, version, _, _ in self.listed(bucket):
            self.s3.delete_object(Bucket=bucket, Key=key, VersionId=version)

    def advance(self, days=0, seconds=0):
        identity = (pathlib.Path(self.state) / "identity").read_text().strip()
        body = json.dumps({"seconds": days * 86_400 + seconds}).encode()
        request = urllib.request.Request(
            f"{self.endpoint}/_steppe/clock", data=body, headers={"x-steppe-identity": identity})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            return datetime.datetime.fromisoformat(json.load(answer)["now"])

    def wait_for(self, holds):
        """Work in the background is waited for by its effect."""
        for _ in range(200):
            if (seen := holds()):
                return seen
            time.sleep(0.05)
        return False

    def run(self):
        for group in (
            self.versions, self.suspended, self.deletes, self.version_tags, self.version_copies,
            self.version_lists, self.version_conditions, self.classes, self.lifecycle_forms,
            self.lifecycle, self.notification_forms, self.forms, self.tags, self.attributes,
            self.many,
        ):
            group()
        for bucket in self.buckets:
            self.empty(bucket)
            self.s3.delete_bucket(Bucket=bucket)

    def versions(self):
        s3, b = self.s3, self.bucket("more-versions")
        self.same("GetBucketVersioning before", s3.get_bucket_versioning(Bucket=b).get("Status"), None)
        self.put(b, body=b"0")
        self.check("no version ID before", "VersionId" not in self.put(b, body=b"0"))
        self.version(b, "Enabled")
        self.same("GetBucketVersioning", s3.get_bucket_versioning(Bucket=b)["Status"], "Enabled")
        one, two = (self.put(b, body=text)["VersionId"] for text in (b"1", b"2"))
        self.same("versions have their bytes", [self.body(b, VersionId=v) for v in ("null", one, two)],
                  [b"0", b"1", b"2"])
        self.same("the newest is current", self.body(b), b"2")
        self.same("HEAD of a version", s3.head_object(Bucket=b, Key="k", VersionId=one)["VersionId"], one)
        marker = s3.delete_object(Bucket=b, Key="k")
        self.check("a delete makes a marker", marker["DeleteMarker"] is True and marker["VersionId"])
        headers = headers_of(lambda: s3.get_object(Bucket=b, Key="k"))
        self.same("GET behind a marker", (code_of(lambda: s3.get_object(Bucket=b, Key="k")),
                  headers.get("x-amz-delete-marker")), ("NoSuchKey", "true"))
        itself = {"Bucket": b, "Key": "k", "VersionId": marker["VersionId"]}
        headers = headers_of(lambda: s3.get_object(**itself))
        self.same("GET of a marker", (code_of(lambda: s3.get_object(**itself)), headers.get("allow")),
                  ("MethodNotAllowed", "DELETE"))
        self.check("a listing shows no marker", "Contents" not in s3.list_objects_v2(Bucket=b))
        self.same("ListObjectVersions, by pages of one",
                  [(v, latest, m) for _, v, latest, m in self.listed(b)],
                  [(marker["VersionId"], True, True), (two, False, False), (one, False, False),
                   ("null", False, False)])
        gone = s3.delete_object(**itself)
        self.same("deleting the marker brings back the object",
                  (gone["DeleteMarker"], gone["VersionId"], self.body(b)),
                  (True, marker["VersionId"], b"2"))
        s3.delete_object(Bucket=b, Key="k", VersionId=two)
        self.same("deleting the current version makes the next one current", self.body(b), b"1")
        s3.delete_object(Bucket=b, Key="k", VersionId="null")
        self.same("deleting another version leaves the current one", self.body(b), b"1")
        self.same("GET of a version that was deleted",
                  code_of(lambda: self.body(b, VersionId=two)), "NoSuchVersion")
        self.same("a version ID that is none",
                  code_of(lambda: self.body(b, VersionId="x")), "InvalidArgument")
        self.same("an empty version ID",
                  code_of(lambda: self.body(b, VersionId="")), "InvalidArgument")
        self.same("deleting a version that is not there",
                  s3.delete_object(Bucket=b, Key="k", VersionId=two)["VersionId"], two)
        self.same("a bucket with versions", code_of(lambda: s3.delete_bucket(Bucket=b)), "BucketNotEmpty")
        s3.delete_object(Bucket=b, Key="k")
        self.same("a bucket with a marker only", code_of(lambda: s3.delete_bucket(Bucket=b)),
                  "BucketNotEmpty")
        upload = s3.create_multipart_upload(Bucket=b, Key="m")["UploadId"]
        part = s3.upload_part(Bucket=b, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
        done = s3.complete_multipart_upload(Bucket=b, Key="m", UploadId=upload, MultipartUpload={
            "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        self.same("a version of a multipart upload", self.body(b, "m", VersionId=done["VersionId"]), b"x")
        self.same("MFADelete", code_of(lambda: s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={
            "Status": "Enabled", "MFADelete": "Enabled"})), "NotImplemented")
        self.same("versioning without a status", code_of(lambda: s3.put_bucket_versioning(
            Bucket=b, VersioningConfiguration={})), "IllegalVersioningConfigurationException")

    def suspended(self):
        s3, b = self.s3, self.bucket("more-suspended", "Enabled")
        one = self.put(b, body=b"1")["VersionId"]
        self.version(b, "Suspended")
        self.put(b, body=b"n1")
        self.same("the null version is the current one", self.body(b), b"n1")
        self.put(b, body=b"n2")
        self.same("there is one null version", [v for _, v, _, _ in self.listed(b)], ["null", one])
        self.same("other versions stay", self.body(b, VersionId=one), b"1")
        marker = s3.delete_object(Bucket=b, Key="k")
        self.same("a null marker", (marker["DeleteMarker"], marker["VersionId"]), (True, "null"))
        self.same("it takes the place of the null version",
                  [(v, m) for _, v, _, m in self.listed(b)], [("null", True), (one, False)])
        self.version(b, "Enabled")
        two = self.put(b, body=b"2")["VersionId"]
        self.version(b, "Suspended")
        self.put(b, body=b"n3")
        self.same("a null marker among others is replaced",
                  [(v, m) for _, v, _, m in self.listed(b)],
                  [("null", False), (two, False), (one, False)])
        s3.delete_object(Bucket=b, Key="k", VersionId="null")
        self.same("the null version is deleted for good", self.body(b), b"2")

    def deletes(self):
        s3, b = self.s3, self.bucket("more-deletes", "Enabled")
        one = self.put(b, "a", b"1")["VersionId"]
        self.put(b, "b", b"1")
        done = s3.delete_objects(Bucket=b, Delete={"Objects": [
            {"Key": "a", "VersionId": one}, {"Key": "b"}, {"Key": "c"}]})["Deleted"]
        done = {d["Key"]: d for d in done}
        self.same("DeleteObjects of a version", done["a"].get("VersionId"), one)
        self.check("DeleteObjects makes markers", all(
            done[k]["DeleteMarker"] and done[k]["DeleteMarkerVersionId"] for k in "bc"), done)
        marker = done["b"]["DeleteMarkerVersionId"]
        done = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "b", "VersionId": marker}]})
        seen = done["Deleted"][0]
        self.same("DeleteObjects of a marker", (seen["DeleteMarker"], seen["DeleteMarkerVersionId"],
                  seen["VersionId"]), (True, marker, marker))
        wrong = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "b", "VersionId": "x"}]})
        self.check("DeleteObjects of a version ID that is none",
                   wrong["Errors"][0]["Code"] in ("InvalidArgument", "NoSuchVersion"), wrong)
        self.same("BypassGovernanceRetention where nothing is retained", code_of(
            lambda: s3.delete_object(Bucket=b, Key="b", BypassGovernanceRetention=True))[
                "DeleteMarker"], True)

    def version_tags(self):
        s3, b = self.s3, self.bucket("more-version-tags", "Enabled")
        one = self.put(b, Tagging="n=1")["VersionId"]
        two = self.put(b, Tagging="n=2")["VersionId"]
        get = lambda **more: s3.get_object_tagging(Bucket=b, Key="k", **more)
        value = lambda **more: [t["Value"] for t in get(**more)["TagSet"]]
        self.same("tags of versions", (value(), value(VersionId=one)), (["2"], ["1"]))
        done = s3.put_object_tagging(Bucket=b, Key="k", VersionId=one, Tagging={
            "TagSet": [{"Key": "n", "Value": "3"}]})
        self.same("tags of a version are replaced", (done["VersionId"], value(VersionId=one), value()),
                  (one, ["3"], ["2"]))
        s3.delete_object_tagging(Bucket=b, Key="k", VersionId=two)
        self.same("tags of a version are deleted", (value(), get()["VersionId"]), ([], two))
        s3.delete_object(Bucket=b, Key="k")
        self.same("tags behind a marker", code_of(lambda: get()), "NoSuchKey")

    def version_copies(self):
        s3, b = self.s3, self.bucket("more-version-copies", "Enabled")
        one = self.put(b, body=b"1")["VersionId"]
        self.put(b, body=b"2")
        done = s3.copy_object(Bucket=b, Key="c", CopySource={"Bucket": b, "Key": "k", "VersionId": one})
        self.same("a version is copied", (self.body(b, "c"), done["CopySourceVersionId"]), (b"1", one))
        done = s3.copy_object(Bucket=b, Key="k", CopySource={"Bucket": b, "Key": "k", "VersionId": one})
        self.same("a version is restored by a copy to itself", self.body(b), b"1")
        self.check("which is a new version", done["VersionId"] not in (one, None))
        upload = {"Bucket": b, "Key": "m"}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        part = s3.upload_part_copy(**upload, PartNumber=1, CopySource=f"{b}/k?versionId={one}")
        self.same("UploadPartCopy of a version", part["CopySourceVersionId"], one)
        s3.abort_multipart_upload(**upload)
        marker = s3.delete_object(Bucket=b, Key="k")["VersionId"]
        self.same("a copy of a marker", code_of(lambda: s3.copy_object(
            Bucket=b, Key="d", CopySource=f"{b}/k?versionId={marker}")), "InvalidRequest")
        self.same("a copy behind a marker", code_of(lambda: s3.copy_object(
            Bucket=b, Key="d", CopySource=f"{b}/k")), "NoSuchKey")

    def version_lists(self):
        s3, b = self.s3, self.bucket("more-version-lists", "Enabled")
        for key in ("a", "d/1", "d/2", "d/2", "e\x00", "e", "f"):
            self.put(b, key)
        s3.delete_object(Bucket=b, Key="d/1")
        keys = [k for k, *_ in self.listed(b)]
        self.same("versions are listed by key", keys, sorted(keys))
        self.same("all of them", len(keys), 8)
        page = s3.list_object_versions(Bucket=b, Delimiter="/", MaxKeys=2)
        self.same("groups of versions", ([v["Key"] for v in page["Versions"]],
                  [p["Prefix"] for p in page["CommonPrefixes"]], page["NextKeyMarker"]),
                  (["a"], ["d/"], "d/"))
        rest = s3.list_object_versions(Bucket=b, Delimiter="/", KeyMarker="d/")
        self.same("behind a group", sorted(v["Key"] for v in rest["Versions"]), ["e", "e\x00", "f"])
        found = s3.list_object_versions(Bucket=b, Prefix="d/")
        self.same("versions under a prefix", (len(found["Versions"]), len(found["DeleteMarkers"])), (3, 1))
        self.same("a version marker without a key marker", code_of(
            lambda: s3.list_object_versions(Bucket=b, VersionIdMarker="null")), "InvalidArgument")

    def version_conditions(self):
        s3, b = self.s3, self.bucket("more-version-conditions", "Enabled")
        first = self.put(b, body=b"1")
        self.put(b, body=b"2")
        get = lambda **more: self.body(b, VersionId=first["VersionId"], **more)
        self.same("If-Match of a version", code_of(lambda: get(IfMatch=first["ETag"])), b"1")
        self.same("If-Match of the current version", code_of(
            lambda: self.body(b, IfMatch=first["ETag"])), "PreconditionFailed")
        self.same("If-None-Match where an object is", code_of(
            lambda: self.put(b, IfNoneMatch="*")), "PreconditionFailed")
        self.same("If-Match of DeleteObject", code_of(
            lambda: s3.delete_object(Bucket=b, Key="k", IfMatch=first["ETag"])), "PreconditionFailed")
        named = {"Key": "k", "VersionId": first["VersionId"]}
        self.same("If-Match beside a version", code_of(
            lambda: s3.delete_object(Bucket=b, **named, IfMatch=first["ETag"])), "NotImplemented")
        self.same("an ETag beside a version in DeleteObjects", s3.delete_objects(Bucket=b, Delete={
            "Objects": [named | {"ETag": first["ETag"]}]})["Errors"][0]["Code"], "NotImplemented")
        s3.delete_object(Bucket=b, Key="k")
        self.same("If-Match behind a marker", code_of(
            lambda: self.put(b, IfMatch=first["ETag"])), "NoSuchKey")
        self.check("If-None-Match behind a marker", "VersionId" in self.put(b, IfNoneMatch="*"))

    def classes(self):
        s3, b = self.s3, self.bucket("more-classes")
        self.put(b, StorageClass="STANDARD_IA")
        self.same("a storage class is kept", (
            s3.head_object(Bucket=b, Key="k")["StorageClass"],
            s3.list_objects_v2(Bucket=b)["Contents"][0]["StorageClass"],
            s3.get_object_attributes(Bucket=b, Key="k", ObjectAttributes=["StorageClass"])[
                "StorageClass"]), ("STANDARD_IA",) * 3)
        s3.copy_object(Bucket=b, Key="c", CopySource=f"{b}/k")
        self.check("a copy has its own", "StorageClass" not in s3.head_object(Bucket=b, Key="c"))
        for other in ("GLACIER", "DEEP_ARCHIVE"):
            self.same(f"{other} is refused", code_of(lambda: self.put(b, StorageClass=other)),
                      "NotImplemented")

    def lifecycle_forms(self):
        s3, b = self.s3, self.bucket("more-lifecycle-forms")
        put = lambda *rules: s3.put_bucket_lifecycle_configuration(
            Bucket=b, LifecycleConfiguration={"Rules": [
                {"ID": f"r{at}", "Status": "Enabled"} | rule for at, rule in enumerate(rules)]})
        get = lambda: s3.get_bucket_lifecycle_configuration(Bucket=b)["Rules"]
        self.same("no rules", code_of(get), "NoSuchLifecycleConfiguration")
        midnight = datetime.datetime(2090, 1, 1, tzinfo=datetime.timezone.utc)
        rules = [
            {"ID": "r0", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 1}},
            {"ID": "r1", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Date": midnight},
             "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
            {"ID": "r2", "Status": "Disabled", "Filter": {"And": {
                "Prefix": "y/", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
                "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 50}},
             "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}},
            {"ID": "r3", "Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "1"}},
             "Expiration": {"Days": 9}},
            {"ID": "r4", "Status": "Enabled", "Filter": {"Prefix": ""},
             "Expiration": {"ExpiredObjectDeleteMarker": True}},
        ]
        put(*rules)
        self.same("rules are told as they were put", get(), rules)
        told = self.put(b, "old/1").get("Expiration", "")
        self.check("x-amz-expiration", told.endswith('00:00:00 GMT", rule-id="r0"'), told)
        begun = s3.create_multipart_upload(Bucket=b, Key="x/1")
        self.same("when an upload is given up", begun.get("AbortRuleId"), "r1")
        s3.abort_multipart_upload(Bucket=b, Key="x/1", UploadId=begun["UploadId"])
        some = {"Filter": {"Prefix": "x"}}
        for name, rule, expected in (
            ("days of 0", some | {"Expiration": {"Days": 0}}, "InvalidArgument"),
            ("a date with a time", some | {"Expiration": {"Date": midnight.replace(hour=5)}},
             "InvalidArgument"),
            ("no action", some, "InvalidRequest"),
            ("neither filter nor prefix", {"Expiration": {"Days": 1}}, "MalformedXML"),
            ("days and a date", some | {"Expiration": {"Days": 1, "Date": midnight}}, "MalformedXML"),
            ("a status that is none", some | {"Status": "On", "Expiration": {"Days": 1}}, "MalformedXML"),
            ("an ID of 256 characters", some | {"ID": "a" * 256, "Expiration": {"Days": 1}},
             "InvalidArgument"),
            ("abortion with tags", {"Filter": {"Tag": {"Key": "a", "Value": "1"}},
                                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
             "InvalidRequest"),
            ("101 newer versions", some | {"NoncurrentVersionExpiration": {
                "NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}, "InvalidArgument"),
            ("transitions of other versions", some | {"NoncurrentVersionTransitions": [
                {"NoncurrentDays": 1, "StorageClass": "GLACIER"}]}, "NotImplemented"),
        ):
            self.same(f"lifecycle: {name}", code_of(lambda: put(rule)), expected)
        same = some | {"ID": "r", "Expiration": {"Days": 1}}
        self.same("lifecycle: an ID twice", code_of(lambda: put(same, same)), "InvalidArgument")
        self.same("refused rules change nothing", get(), rules)
        s3.delete_bucket_lifecycle(Bucket=b)
        self.same("rules are deleted", code_of(get), "NoSuchLifecycleConfiguration")

    def lifecycle(self):
        """Days pass by the cloud's clock, and rules are executed at its midnight."""
        s3 = self.s3
        plain, versioned = self.bucket("more-expiring"), self.bucket("more-expiring-versions", "Enabled")
        rule = lambda id, filter, **more: {"ID": id, "Status": "Enabled", "Filter": filter} | more
        days = lambda n: {"Expiration": {"Days": n}}
        s3.put_bucket_lifecycle_configuration(Bucket=plain, LifecycleConfiguration={"Rules": [
            rule("days", {"Prefix": "days/"}, **days(2)),
            rule("tag", {"Tag": {"Key": "goes", "Value": "yes"}}, **days(2)),
            rule("size", {"And": {"Prefix": "size/", "ObjectSizeGreaterThan": 5}}, **days(2)),
            rule("uploads", {"Prefix": ""}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
            rule("off", {"Prefix": "off/"}, **days(2)) | {"Status": "Disabled"}]})
        s3.put_bucket_lifecycle_configuration(Bucket=versioned, LifecycleConfiguration={"Rules": [
            rule("days", {"Prefix": "days/"}, **days(2)),
            rule("marker", {"Prefix": "marker/"}, Expiration={"ExpiredObjectDeleteMarker": True}),
            rule("others", {"Prefix": "others/"}, NoncurrentVersionExpiration={
                "NoncurrentDays": 2, "NewerNoncurrentVersions": 1})]})
        goes = [("days/1", {}), ("tagged", {"Tagging": "goes=yes"}), ("size/large", {"Body": b"123456"})]
        stays = [("other", {}), ("untagged", {"Tagging": "goes=no"}), ("size/small", {"Body": b"12345"}),
                 ("off/1", {})]
        for key, more in goes + stays:
            s3.put_object(Bucket=plain, Key=key, **more)
        s3.create_multipart_upload(Bucket=plain, Key="never")
        kept = self.put(versioned, "days/1")["VersionId"]
        self.put(versioned, "marker/alone")
        self.empty_key(versioned, "marker/alone")
        s3.delete_object(Bucket=versioned, Key="marker/alone")
        self.put(versioned, "marker/not-alone")
        s3.delete_object(Bucket=versioned, Key="marker/not-alone")
        others = [self.put(versioned, "others/1", body=str(n).encode())["VersionId"] for n in range(4)]
        self.advance(days=1)
        keys = lambda: {o["Key"] for o in s3.list_objects_v2(Bucket=plain)["Contents"]}
        # The marker goes at the first midnight, by which the sweep is known to have been.
        alone = lambda: [k for k, *_ in self.listed(versioned) if k == "marker/alone"]
        self.check("an expired delete marker goes", self.wait_for(lambda: not alone()), alone())
        self.same("nothing else goes before its day", len(keys()), len(goes) + len(stays))
        self.advance(days=2)
        left = {key for key, _ in stays}
        self.check("what has expired goes", self.wait_for(lambda: keys() == left), keys())
        uploads = lambda: s3.list_multipart_uploads(Bucket=plain).get("Uploads")
        self.check("uploads that nobody finished go", self.wait_for(lambda: not uploads()), uploads())
        found = lambda key: [(v, m) for k, v, _, m in self.listed(versioned) if k == key]
        self.check("where versions are kept a marker is made", self.wait_for(
            lambda: [(m, v == kept) for v, m in found("days/1")] == [(True, False), (False, True)]),
            found("days/1"))
        self.check("a marker with versions behind it stays", len(found("marker/not-alone")) == 2)
        self.check("other versions go, but the newest of them", self.wait_for(
            lambda: [v for v, _ in found("others/1")] == [others[3], others[2]]), found("others/1"))

    def empty_key(self, bucket, key):
        for name, version, _, _ in self.listed(bucket, Prefix=key):
            self.s3.delete_object(Bucket=bucket, Key=name, VersionId=version)

    def notification_forms(self):
        s3, b = self.s3, self.bucket("more-notifications")
        put = lambda **more: s3.put_bucket_notification_configuration(
            Bucket=b, NotificationConfiguration=more)
        get = lambda: {k: v for k, v in s3.get_bucket_notification_configuration(Bucket=b).items()
                       if k != "ResponseMetadata"}
        self.same("no notifications", get(), {})
        put(EventBridgeConfiguration={})
        self.same("EventBridge", get(), {"EventBridgeConfiguration": {}})
        queue = f"arn:aws:sqs:{self.session.region_name}:000000000000:none"
        one = lambda **more: {"Id": "a", "QueueArn": queue, "Events": ["s3:ObjectCreated:*"]} | more
        rules = lambda **pairs: {"Key": {"FilterRules": [
            {"Name": n, "Value": v} for n, v in pairs.items()]}}
        for name, configurations, expected in (
            ("an unknown event", [one(Events=["s3:Nothing"])], "InvalidArgument"),
            ("an event that never happens here", [one(Events=["s3:ObjectRestore:Post"])], "NotImplemented"),
            ("an ID twice", [one(Filter=rules(prefix="a")), one(Filter=rules(prefix="b"))],
             "InvalidArgument"),
            ("overlapping filters", [one(Filter=rules(prefix="a")),
                                     one(Id="b", Filter=rules(prefix="ab"))], "InvalidArgument"),
            ("a topic for a queue", [one(QueueArn=queue.replace(":sqs:", ":sns:"))], "InvalidArgument"),
            ("another filter", [one(Filter=rules(middle="a"))], "InvalidArgument"),
        ):
            self.same(f"notifications: {name}", code_of(
                lambda: put(QueueConfigurations=configurations)), expected)
        seen = code_of(lambda: put(QueueConfigurations=[one()]))
        self.check("a queue that is not there", seen in ("InvalidArgument", "NotImplemented"), seen)
        self.same("what was refused changes nothing", get(), {"EventBridgeConfiguration": {}})
        both = [one(Filter=rules(Prefix="a/", Suffix=".csv"))]
        s3.put_bucket_notification_configuration(Bucket=b, SkipDestinationValidation=True,
            NotificationConfiguration={"QueueConfigurations": both})
        self.same("notifications are told as they were put", get(), {"QueueConfigurations": both})
        put()
        self.same("notifications are taken away", get(), {})

    def post(self, form, file=b"file", name="a.txt"):
        """Sends a form as a web page would; status, headers and body."""
        boundary, parts = "b0undary", []
        for field, value in form["fields"].items():
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n')
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n')
        body = "".join(parts).encode() + file + f"\r\n--{boundary}--\r\n".encode()
        request = urllib.request.Request(form["url"], data=body, headers={
            "Content-Type": f"multipart/form-data; boundary={boundary}"})

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
        try:
            with opener.open(request) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def forms(self):
        s3, b = self.s3, self.bucket("more-forms")
        made = lambda key="u/${filename}", fields=None, conditions=(), **more: (
            s3.generate_presigned_post(b, key, Fields=dict(fields or {}), Conditions=[
                *({k: v} for k, v in (fields or {}).items()), *conditions], **more))
        status, headers, _ = self.post(made())
        self.same("a form", (status, self.body(b, "u/a.txt")), (204, b"file"))
        fields = {"Content-Type": "text/csv", "x-amz-meta-a": "1", "success_action_status": "201",
                  "tagging": "<Tagging><TagSet><Tag><Key>t</Key><Value>1</Value></Tag></TagSet></Tagging>"}
        status, _, body = self.post(made("f", fields))
        head = s3.head_object(Bucket=b, Key="f")
        self.same("a form with fields", (status, "<Key>f</Key>" in body, head["ContentType"],
                  head["Metadata"], s3.get_object_tagging(Bucket=b, Key="f")["TagSet"]),
                  (201, True, "text/csv", {"a": "1"}, [{"Key": "t", "Value": "1"}]))
        status, headers, _ = self.post(made("r", {"success_action_redirect": "http://example.org/done"}))
        self.check("a form that redirects", status == 303 and "key=r" in headers["Location"], headers)
        length = ["content-length-range", 2, 5]
        for name, form, file, expected in (
            ("too large", made("s", conditions=[length]), b"123456", (400, "EntityTooLarge")),
            ("too small", made("s", conditions=[length]), b"1", (400, "EntityTooSmall")),
            ("expired", made("s", ExpiresIn=-10), b"1", (403, "Policy expired")),
        ):
            status, _, body = self.post(form, file)
            self.same(f"a form whose file is {name}", (status, expected[1] in body), (expected[0], True))
        for name, change, expected in (
            ("another key", {"key": "other"}, "Policy Condition failed"),
            ("a field more", {"x-amz-meta-b": "1"}, "Extra input fields"),
            ("another signature", {"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
            ("another policy", {"policy": base64.b64encode(b"{}").decode()}, "SignatureDoesNotMatch"),
        ):
            form = made("s")
            form["fields"] |= change
            status, _, body = self.post(form)
            self.check(f"a form with {name}", status == 403 and expected in body, (status, body))
        form = made("s")
        form["fields"] = {"key": "s"}
        self.same("a form that nobody signed", self.post(form)[0], 403)
        self.check("refused forms leave nothing", code_of(lambda: self.body(b, "s")) == "NoSuchKey")

    def tags(self):
        s3, b = self.s3, self.bucket("more-tags")
        put = lambda *tags: s3.put_bucket_tagging(Bucket=b, Tagging={"TagSet": [
            {"Key": k, "Value": v} for k, v in tags]})
        get = lambda: s3.get_bucket_tagging(Bucket=b)["TagSet"]
        self.same("no tags of a bucket", code_of(get), "NoSuchTagSet")
        put(("a", "1"), ("b", ""))
        self.same("tags of a bucket", get(), [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
        for name, tags, expected in (
            ("51 tags", [(str(n), "") for n in range(51)], "BadRequest"),
            ("a tag twice", [("a", "1"), ("a", "2")], "InvalidTag"),
            ("a system tag", [("aws:x", "1")], "InvalidTag"),
            ("a key of 129 characters", [("a" * 129, "1")], "InvalidTag"),
            ("a value of 257 characters", [("a", "1" * 257)], "InvalidTag"),
            ("a character that tags cannot have", [("a", "?")], "InvalidTag"),
        ):
            self.same(f"a bucket with {name}", code_of(lambda: put(*tags)), expected)
        s3.delete_bucket_tagging(Bucket=b)
        self.same("tags of a bucket are deleted", code_of(get), "NoSuchTagSet")
        self.put(b, Tagging="a=1")
        s3.copy_object(Bucket=b, Key="c", CopySource=f"{b}/k")
        s3.copy_object(Bucket=b, Key="d", CopySource=f"{b}/k", TaggingDirective="REPLACE", Tagging="b=2")
        of = lambda key: [(t["Key"], t["Value"]) for t in s3.get_object_tagging(Bucket=b, Key=key)["TagSet"]]
        self.same("tags of copies", (of("c"), of("d")), ([("a", "1")], [("b", "2")]))
        self.same("tags of what is not there", code_of(lambda: of("none")), "NoSuchKey")

    def attributes(self):
        s3, b = self.s3, self.bucket("more-attributes", "Enabled")
        upload = {"Bucket": b, "Key": "m"}
        upload["UploadId"] = s3.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256")["UploadId"]
        parts = [s3.upload_part(**upload, PartNumber=n, Body=b"x" * size, ChecksumAlgorithm="SHA256")
                 for n, size in ((1, FULL), (2, 3))]
        done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [
            {"PartNumber": n, "ETag": p["ETag"], "ChecksumSHA256": p["ChecksumSHA256"]}
            for n, p in enumerate(parts, 1)]})
        seen = s3.get_object_attributes(Bucket=b, Key="m", MaxParts=1, ObjectAttributes=[
            "ETag", "Checksum", "ObjectParts", "ObjectSize", "StorageClass"])
        page = seen["ObjectParts"]
        self.same("attributes of parts", (page["TotalPartsCount"], page["IsTruncated"],
                  page["NextPartNumberMarker"], page["Parts"][0]["ChecksumSHA256"]),
                  (2, True, 1, parts[0]["ChecksumSHA256"]))
        composite = done["ChecksumSHA256"]
        self.same("a composite checksum among attributes has no count", (
            seen["Checksum"]["ChecksumSHA256"], composite[-2:]), (composite[:-2], "-2"))
        self.same("an ETag among attributes has no quotes", seen["ETag"], done["ETag"].strip('"'))
        part = s3.get_object(Bucket=b, Key="m", PartNumber=2, ChecksumMode="ENABLED")
        self.same("a part has its own checksum", (part["ChecksumSHA256"], part["ChecksumType"]),
                  (parts[1]["ChecksumSHA256"], "COMPOSITE"))
        self.same("encryption that is asked of a reader", code_of(lambda: self.raw(
            "GET", f"/{b}/m", {"x-amz-server-side-encryption": "AES256"})), (400, "InvalidArgument"))
        self.same("an empty Content-MD5", self.raw("PUT", f"/{b}/x", {"Content-MD5": ""}),
                  (400, "InvalidDigest"))
        now = email.utils.formatdate(usegmt=True)
        self.same("a signature that is dated by Date", self.raw("GET", f"/{b}/m", {"Date": now}),
                  (200, None))
        self.same("attributes of a version", (seen["VersionId"], seen["ObjectSize"],
                  seen["Checksum"]["ChecksumType"]), (done["VersionId"], FULL + 3, "COMPOSITE"))

    def many(self):
        b = self.bucket("more-many", "Enabled")
        for number in range(30):
            self.put(b, f"{number:03}")
            self.put(b, f"{number:03}")
        seen = self.listed(b)
        self.same("sixty versions by pages of one", (len(seen), len({v for _, v, _, _ in seen})), (60, 60))
        self.same("of which half are the latest", sum(latest for _, _, latest, _ in seen), 30)
