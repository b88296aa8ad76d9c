#!/bin/sh
# A real OpenSearch for tests/sinks/test_opensearch.py, from Maven Central (100 MB, a minute the first time); needs Java 17 and Maven.
#   tests/support/opensearch/serve.sh DIRECTORY HTTP_PORT TRANSPORT_PORT SECONDS &
#   SHIPPER_OPENSEARCH=http://127.0.0.1:HTTP_PORT pytest tests/sinks/test_opensearch.py
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=$1
mkdir -p "$directory"
[ -d "$directory/lib" ] || mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$directory/lib"
javac -cp "$directory/lib/*" -d "$directory" "$here/Serve.java"
exec java -Xmx512m -cp "$directory:$directory/lib/*" Serve "$directory/node" "$2" "$3" "$4"
