"""What `voice --help` says of the commands that every installation has."""

SUMMARIES = {
    "admin": "Make the database ready for the services.",
    "completion": "Print the script that completes commands in a shell.",
    "doctor": "Check configuration, stores and services, and say what to do.",
}
