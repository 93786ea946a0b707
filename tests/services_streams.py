"""DynamoDB, Kinesis, Firehose and CloudWatch of the embedded cloud, as boto3 sees them."""

import sys

import services_streams_cloudwatch
import services_streams_dynamodb
import services_streams_firehose
import services_streams_kinesis
from services_streams_support import Account, report

PARTS = {
    "dynamodb": services_streams_dynamodb.checks,
    "kinesis": services_streams_kinesis.checks,
    "firehose": services_streams_firehose.checks,
    "cloudwatch": services_streams_cloudwatch.checks,
}


def main():
    for name in sys.argv[1:] or PARTS:
        with Account() as account:
            PARTS[name](account)
    sys.exit(report())


if __name__ == "__main__":
    main()
