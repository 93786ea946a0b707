"""Queues, topics, rules, functions, parameters, keys and schedules of the embedded cloud, as a user of boto3 sees them."""

import sys

import services_messages_events
import services_messages_functions
import services_messages_notifications
import services_messages_queues
import services_messages_schedules
import services_messages_secrets
import services_messages_sources
import services_messages_topics
from support import EmbeddedCloud
from services_messages_checks import Cloud, report


def main():
    wanted = sys.argv[1:]
    parts = {
        "sqs": services_messages_queues.run,
        "sns": services_messages_topics.run,
        "events": services_messages_events.run,
        "lambda": services_messages_functions.run,
        "sources": services_messages_sources.run,
        "notifications": services_messages_notifications.run,
        "kms": services_messages_secrets.run_kms,
        "ssm": services_messages_secrets.run_ssm,
        "scheduler": services_messages_schedules.run,
    }
    with EmbeddedCloud() as embedded:
        for name, run in parts.items():
            if not wanted or name in wanted:
                run(Cloud(embedded))
    sys.exit(report())


main()
